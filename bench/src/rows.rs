//! The rows of the table and the points of the curves.

use std::time::Duration;

use anyhow::Result;

use crate::measure::{Bench, Task};
use crate::results::Results;
use crate::subject::{Gateway, Job, Pace, Subject};

/// Messages a second of the whole job; beyond the last of them only the reference goes on.
const LADDER: [f64; 7] = [200.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0, 3000.0];
const REFERENCE_LADDER: [f64; 3] = [4000.0, 5000.0, 6000.0];
/// A rate is kept up while the median overhead is at most this many times the reference's at that rate.
const KEPT_UP: f64 = 10.0;

const CONNECTIONS: [usize; 5] = [1, 4, 16, 64, 256];
const CHATS: [u64; 4] = [1, 10, 100, 1000];
const STORED: [u64; 4] = [0, 10_000, 100_000, 1_000_000];

pub struct Rows<'a> {
    pub bench: &'a mut Bench,
    pub results: &'a mut Results,
    pub gateways: &'a [Gateway],
    pub repeat: usize,
    /// Instead of each row's own time.
    pub time: Option<Duration>,
    /// The largest point of the curve over stored messages.
    pub stored: u64,
}

impl Rows<'_> {
    fn time(&self, seconds: u64) -> Duration {
        self.time.unwrap_or(Duration::from_secs(seconds))
    }

    /// All gateways and these references, in an order that changes with each repetition.
    fn subjects(&self, references: &[Subject], repetition: usize) -> Vec<Subject> {
        let mut subjects: Vec<Subject> = self.gateways.iter().cloned().map(Subject::Gateway).collect();
        subjects.extend_from_slice(references);
        let turn = repetition % subjects.len();
        subjects.rotate_left(turn);
        subjects
    }

    /// Without the gateways of which the whole job can't be measured.
    fn paced(&self, references: &[Subject], repetition: usize) -> Vec<Subject> {
        let mut subjects = self.subjects(references, repetition);
        subjects.retain(|subject| match subject {
            Subject::Gateway(gateway) if gateway.pace == Pace::Fixed => {
                eprintln!("{}: left out, it has no key `pace`", gateway.name);
                false
            }
            _ => true,
        });
        subjects
    }

    fn take(&mut self, row: &'static str, at: f64, repetition: usize, task: &Task) -> Result<()> {
        let outcome = self.bench.measure(task)?;
        self.results.outcome((row, task.subject.name(), at), repetition, &outcome)
    }

    /// What can be acknowledged, with nothing behind it.
    pub fn stored(&mut self) -> Result<()> {
        for repetition in 0..self.repeat {
            for subject in self.subjects(&[Subject::Durable], repetition) {
                let task = Task::closed(&subject, Job::StoreOnly, 64, self.time(5));
                self.take("stored", 64.0, repetition, &task)?;
            }
        }
        Ok(())
    }

    /// What can be acknowledged while the job runs behind it; the backlog is drained then.
    pub fn running(&mut self) -> Result<()> {
        for repetition in 0..self.repeat {
            for subject in self.paced(&[Subject::Durable], repetition) {
                let job = if subject == Subject::Durable { Job::StoreOnly } else { Job::Whole };
                let task = Task::closed(&subject, job, 64, self.time(10));
                self.take("running", 64.0, repetition, &task)?;
            }
        }
        Ok(())
    }

    /// How long an acknowledgement takes at a rate.
    pub fn acknowledgement(&mut self) -> Result<()> {
        for repetition in 0..self.repeat {
            for (row, job) in [("acknowledgement", Job::Whole), ("acknowledgement_stored", Job::StoreOnly)] {
                for rate in [500.0, 2000.0] {
                    let subjects = match job {
                        Job::Whole => self.paced(&[Subject::Durable], repetition),
                        Job::StoreOnly => self.subjects(&[Subject::Durable], repetition),
                    };
                    for subject in subjects {
                        let task = Task::open(&subject, job, rate, self.time(6));
                        self.take(row, rate, repetition, &task)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The whole job at rates that everybody keeps up with.
    pub fn job(&mut self) -> Result<()> {
        for repetition in 0..self.repeat {
            for (rate, seconds) in [(200.0, 20), (2000.0, 10)] {
                for subject in self.paced(&[Subject::Memory], repetition) {
                    let task = Task::open(&subject, Job::Whole, rate, self.time(seconds));
                    self.take("job", rate, repetition, &task)?;
                }
            }
        }
        Ok(())
    }

    /// The highest rate of the ladder that is kept up.
    pub fn sustained(&mut self) -> Result<()> {
        for repetition in 0..self.repeat {
            let mut climbing = self.paced(&[], repetition);
            let mut reference = Some(Subject::Memory);
            let mut highest: Vec<(&'static str, f64)> = climbing.iter().map(|subject| (subject.name(), 0.0)).collect();
            highest.push((Subject::Memory.name(), 0.0));
            let mut calm = None;
            for rate in LADDER.into_iter().chain(REFERENCE_LADDER) {
                let seconds = self.time(10);
                let mut limit = f64::INFINITY;
                if let Some(subject) = reference.clone() {
                    let outcome = self.bench.measure(&Task::open(&subject, Job::Whole, rate, seconds))?;
                    self.results.outcome(("ladder", subject.name(), rate), repetition, &outcome)?;
                    let job = outcome.job.as_ref().map_or(f64::NAN, |job| job.overhead.p50);
                    let own = KEPT_UP * *calm.get_or_insert(job);
                    limit = KEPT_UP * job;
                    if is_kept_up(&outcome, rate, own) {
                        raise(&mut highest, subject.name(), rate);
                    } else {
                        reference = None;
                    }
                }
                if rate > LADDER[LADDER.len() - 1] {
                    continue;
                }
                let mut still = Vec::new();
                for subject in climbing {
                    let outcome = self.bench.measure(&Task::open(&subject, Job::Whole, rate, seconds))?;
                    self.results.outcome(("ladder", subject.name(), rate), repetition, &outcome)?;
                    if is_kept_up(&outcome, rate, limit) {
                        raise(&mut highest, subject.name(), rate);
                        still.push(subject);
                    }
                }
                climbing = still;
                if climbing.is_empty() && reference.is_none() {
                    break;
                }
            }
            for (name, rate) in highest {
                self.results.add(("sustained", name, 0.0), repetition, &[("per_second", rate)])?;
            }
        }
        Ok(())
    }

    pub fn over_connections(&mut self) -> Result<()> {
        for repetition in 0..self.repeat {
            for connections in CONNECTIONS {
                for subject in self.subjects(&[Subject::Durable], repetition) {
                    let task = Task::closed(&subject, Job::StoreOnly, connections, self.time(4));
                    self.take("connections", connections as f64, repetition, &task)?;
                }
            }
        }
        Ok(())
    }

    /// 200 messages a second in few chats, where they wait for each other, or in many.
    pub fn over_chats(&mut self) -> Result<()> {
        for repetition in 0..self.repeat {
            for chats in CHATS {
                for subject in self.paced(&[], repetition) {
                    let task = Task::open(&subject, Job::Whole, 200.0, self.time(10));
                    self.take("chats", chats as f64, repetition, &Task { chats: Some(chats), ..task })?;
                }
            }
        }
        Ok(())
    }

    /// What is there already must not be felt.
    pub fn over_stored(&mut self) -> Result<()> {
        for repetition in 0..self.repeat {
            let most = self.stored;
            for stored in STORED.into_iter().filter(|stored| *stored <= most) {
                for subject in self.subjects(&[], repetition) {
                    let task = Task { stored, ..Task::closed(&subject, Job::StoreOnly, 64, self.time(4)) };
                    self.take("stored_messages", stored as f64, repetition, &task)?;
                    let task = Task { stored, ..Task::open(&subject, Job::StoreOnly, 500.0, self.time(4)) };
                    self.take("stored_messages_at_500", stored as f64, repetition, &task)?;
                }
            }
        }
        Ok(())
    }
}

fn is_kept_up(outcome: &crate::measure::Outcome, rate: f64, limit: f64) -> bool {
    let Some(job) = &outcome.job else { return false };
    outcome.refused == 0
        && job.lost == 0
        && outcome.per_second >= 0.97 * rate
        && job.overhead.p50 <= limit
        && job.last_quarter <= limit
}

fn raise(highest: &mut [(&'static str, f64)], name: &str, rate: f64) {
    for (_, highest) in highest.iter_mut().filter(|(subject, _)| *subject == name) {
        *highest = rate;
    }
}
