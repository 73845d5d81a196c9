//! All figures of a run, and the file they are kept in as they come.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Result;

use crate::measure::Outcome;
use crate::statistics::median;

pub struct Results {
    lines: Vec<Line>,
    file: File,
}

struct Line {
    row: &'static str,
    subject: &'static str,
    /// What the curve is drawn over; 0 for what is no curve.
    at: f64,
    metric: &'static str,
    value: f64,
}

impl Results {
    pub fn create(path: &Path) -> Result<Self> {
        let mut file = File::create(path)?;
        writeln!(file, "row,subject,at,repetition,metric,value")?;
        Ok(Self { lines: Vec::new(), file })
    }

    pub fn add(
        &mut self,
        (row, subject, at): (&'static str, &'static str, f64),
        repetition: usize,
        values: &[(&'static str, f64)],
    ) -> Result<()> {
        let mut shown = String::new();
        for (metric, value) in values {
            writeln!(self.file, "{row},{subject},{at},{repetition},{metric},{value}")?;
            self.lines.push(Line { row, subject, at, metric, value: *value });
            shown.push_str(&format!(" {metric}={value:.3}"));
        }
        eprintln!("{row} {subject} at {at} #{repetition}:{shown}");
        Ok(())
    }

    pub fn outcome(
        &mut self,
        place: (&'static str, &'static str, f64),
        repetition: usize,
        outcome: &Outcome,
    ) -> Result<()> {
        let mut values = vec![
            ("per_second", outcome.per_second),
            ("acknowledgement_p50_ms", outcome.acknowledgement.p50),
            ("acknowledgement_p99_ms", outcome.acknowledgement.p99),
            ("cpu_s_per_10k", outcome.cpu),
            ("memory_mib", outcome.memory / 1_048_576.0),
            ("refused", outcome.refused as f64),
            ("others_percent", outcome.others * 100.0),
        ];
        if let Some(job) = &outcome.job {
            values.extend([
                ("overhead_p50_ms", job.overhead.p50),
                ("overhead_p99_ms", job.overhead.p99),
                ("last_quarter_p50_ms", job.last_quarter),
                ("lost", job.lost as f64),
                ("duplicate_replies", job.duplicate_replies as f64),
                ("duplicate_questions", job.duplicate_questions as f64),
                ("drained_s", job.drained),
            ]);
        }
        self.add(place, repetition, &values)
    }

    fn values(&self, row: &str, subject: &str, at: f64, metric: &str) -> Vec<f64> {
        let is_it = |line: &&Line| line.row == row && line.subject == subject && line.at == at && line.metric == metric;
        self.lines.iter().filter(is_it).map(|line| line.value).collect()
    }

    /// Over the repetitions; NaN if it was not measured.
    pub fn median(&self, row: &str, subject: &str, at: f64, metric: &str) -> f64 {
        median(&self.values(row, subject, at, metric))
    }

    /// The smallest and the largest.
    pub fn spread(&self, row: &str, subject: &str, at: f64, metric: &str) -> (f64, f64) {
        let values = self.values(row, subject, at, metric);
        values.iter().fold((f64::NAN, f64::NAN), |(low, high), value| (low.min(*value), high.max(*value)))
    }

    /// Over all rows.
    pub fn total(&self, subject: &str, metric: &str) -> f64 {
        let is_it = |line: &&Line| line.subject == subject && line.metric == metric;
        // Not `sum`: of nothing it is -0.
        self.lines.iter().filter(is_it).fold(0.0, |total, line| total + line.value)
    }

    pub fn subjects(&self, row: &str) -> Vec<&'static str> {
        let mut subjects: Vec<&'static str> = Vec::new();
        for line in self.lines.iter().filter(|line| line.row == row) {
            if !subjects.contains(&line.subject) {
                subjects.push(line.subject);
            }
        }
        subjects
    }

    /// Where this row was measured, in order.
    pub fn points(&self, row: &str) -> Vec<f64> {
        let mut points: Vec<f64> = self.lines.iter().filter(|line| line.row == row).map(|line| line.at).collect();
        points.sort_by(f64::total_cmp);
        points.dedup();
        points
    }
}
