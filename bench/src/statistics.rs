//! Medians and percentiles.

/// The smallest value that `part` of them do not exceed.
pub fn percentile(sorted: &[u64], part: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1] as f64
}

/// In milliseconds, of nanoseconds.
pub struct Latencies {
    pub p50: f64,
    pub p99: f64,
}

impl Latencies {
    pub fn of(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        Self { p50: percentile(&nanos, 0.5) / 1e6, p99: percentile(&nanos, 0.99) / 1e6 }
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}
