//! The limit of open files (`ulimit -n`, `LimitNOFILE=`): raised as far as we may, and shared out, so that
//! connections from outside leave enough for Fini, the platforms and the store.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::web::{OPERATOR_CONNECTIONS, WAITING_FOR_A_SLOT};

/// Standard streams, runtimes, listeners, name look-ups, and the store's files or connections.
const OWN: usize = 128;
/// The admin listener and the metrics listener, and those that wait for a slot at any of the three.
const LISTENERS: usize = 2 * OPERATOR_CONNECTIONS + 3 * WAITING_FOR_A_SLOT;

/// Raises the soft limit to the hard one, as any process may, and says what it is. `None`: there is no limit.
pub fn raise() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files can't be raised");
        }
    }
    getrlimit(Resource::Nofile).current.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// `server.max_connections`, or as many as fit below the limit. `outgoing`: what may be open to Fini and the platforms
/// at one time.
pub fn max_connections(wanted: usize, limit: Option<usize>, outgoing: usize) -> usize {
    let Some(limit) = limit else { return wanted };
    // All of it at one time is rare: where files are few, webhooks get half of them all the same.
    let reserve = (OWN + LISTENERS).saturating_add(outgoing).min(limit / 2);
    let fits = (limit - reserve).max(1);
    if fits < wanted {
        tracing::warn!(
            open_files = limit,
            wanted,
            max_connections = fits,
            "server.max_connections is lowered: raise the limit of open files (LimitNOFILE=, ulimit -n)"
        );
    }
    wanted.min(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_what_else_may_be_open() {
        let reserve = OWN + LISTENERS + 512 + 64;
        assert_eq!(max_connections(10_000, None, 576), 10_000);
        assert_eq!(max_connections(10_000, Some(65_536), 576), 10_000);
        assert_eq!(max_connections(10_000, Some(4096), 576), 4096 - reserve);
        assert_eq!(max_connections(10_000, Some(1024), 576), 512, "never less than half of them");
        assert_eq!(max_connections(50, Some(1024), 576), 50);
        assert_eq!(max_connections(10_000, Some(1024), usize::MAX), 512);
        assert_eq!(max_connections(10_000, Some(1), 576), 1);
    }
}
