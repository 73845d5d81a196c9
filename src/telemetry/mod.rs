//! Counters and logs. Nothing here ever holds message text, names, addresses or platform ids.
