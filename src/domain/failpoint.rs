//! Named places at which a process can be made to die, for `make chaos`. In an ordinary build they are nothing.

/// Dies here if the environment's `FAILPOINTS` says so, as in `FAILPOINTS="turn.asked=1*return"`.
#[cfg(feature = "failpoints")]
pub fn reach(name: &str) {
    fail::fail_point!(name, |_| std::process::abort());
}

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_name: &str) {}

/// All of them: the chaos command kills at each. A step of the state machine has one before and one after
/// what it writes down, and one between what can't be undone and its record.
pub const ALL: [&str; 13] = [
    "intake.verified",
    "intake.kept",
    "lane.leased",
    "turn.planned",
    "turn.asked",
    "turn.answered",
    "turn.ended",
    "lookup.begun",
    "lookup.found",
    "discovery.found",
    "delivery.sending",
    "delivery.taken",
    "delivery.sent",
];
