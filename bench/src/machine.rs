//! The machine: which core runs what, how much CPU a process has used, and whether anything else disturbs a
//! measurement.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Of /proc: one hundredth of a second on every Linux that Rust runs on.
const TICK: f64 = 0.01;
/// A measurement begins when the machine is at least this idle.
const QUIET: f64 = 0.06;
/// A measurement is repeated when others used more than this share of the machine.
pub const DISTURBED: f64 = 0.08;

/// The measured process has one core, the generator and the upstreams have another.
pub struct Pinning {
    /// `None`: there is no `taskset`, or only one core.
    cores: Option<(String, String)>,
}

impl Pinning {
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let has_taskset = Command::new("taskset").arg("-V").output().is_ok_and(|output| output.status.success());
        let pinning = Self { cores: (has_taskset && cores > 1).then(|| ("0".to_owned(), "1".to_owned())) };
        if let Some((_, own)) = &pinning.cores {
            let _ = Command::new("taskset").args(["-a", "-cp", own, &std::process::id().to_string()]).output();
        }
        pinning
    }

    /// A command for the measured process.
    pub fn command(&self, program: &Path) -> Command {
        match &self.cores {
            Some((measured, _)) => {
                let mut command = Command::new("taskset");
                command.args(["-c", measured]).arg(program);
                command
            }
            None => Command::new(program),
        }
    }

    pub fn describe(&self) -> &'static str {
        match self.cores {
            Some(_) => "the measured process on one core, generator and upstreams on another",
            None => "no pinning",
        }
    }
}

/// Seconds of CPU that a process has used, with those of its children that have ended.
pub fn cpu(pid: u32) -> f64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0.0 };
    let Some((_, fields)) = stat.rsplit_once(')') else { return 0.0 };
    // User and system time, of the process and of its children.
    fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() * TICK
}

/// With the children that still run, too.
pub fn cpu_with_children(pid: u32) -> f64 {
    let parent = |child: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    cpu(pid) + pids.filter(|child| parent(*child) == Some(pid)).map(cpu).sum::<f64>()
}

/// Bytes that a process has in memory.
pub fn memory(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) * 1024.0
}

/// Seconds of CPU: used, and there to be used.
#[derive(Clone, Copy)]
struct Total {
    busy: f64,
    all: f64,
}

impl Total {
    fn now() -> Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("/proc/stat is empty")?;
        let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        let busy: f64 = [0, 1, 2, 5, 6].iter().filter_map(|at| fields.get(*at)).sum();
        Ok(Self { busy: busy * TICK, all: fields.iter().take(8).sum::<f64>() * TICK })
    }

    fn since(self, earlier: Self) -> Self {
        Self { busy: self.busy - earlier.busy, all: self.all - earlier.all }
    }
}

/// What others do while something is measured.
pub struct Others {
    total: Total,
    ours: f64,
}

impl Others {
    pub fn watch(pids: &[u32]) -> Result<Self> {
        Ok(Self { total: Total::now()?, ours: ours(pids) })
    }

    /// The share of the machine that others have used since.
    pub fn share(&self, pids: &[u32]) -> Result<f64> {
        let total = Total::now()?.since(self.total);
        Ok((total.busy - (ours(pids) - self.ours)).max(0.0) / total.all.max(TICK))
    }
}

fn ours(pids: &[u32]) -> f64 {
    pids.iter().copied().chain([std::process::id()]).map(cpu).sum()
}

/// How long may be waited, in all.
pub struct Patience(Duration);

impl Patience {
    pub fn new(time: Duration) -> Self {
        Self(time)
    }

    /// Until nothing else runs here, or patience is at its end.
    pub fn until_quiet(&mut self) -> Result<()> {
        while !self.0.is_zero() {
            let (began, before) = (Instant::now(), Total::now()?);
            std::thread::sleep(Duration::from_millis(1500));
            let spent = Total::now()?.since(before);
            if spent.busy < QUIET * spent.all {
                break;
            }
            self.0 = self.0.saturating_sub(began.elapsed());
        }
        Ok(())
    }
}

/// For the page's head.
pub fn describe() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |it| it.1);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}
