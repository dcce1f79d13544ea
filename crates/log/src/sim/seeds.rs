//! Running a check with many seeds, as many as there is time for.
//!
//! - `TERCET_SEED=n`: this seed alone.
//! - `TERCET_SEEDS=n`: so many seeds from 0 on, however long that takes.
//! - `TERCET_SOAK_SECONDS=n`: for so long, from a random seed on.

use std::env;
use std::time::{Duration, Instant};

/// Calls `check` with seeds 0, 1, 2 and so on, up to `count` of them or until `limit` has passed; the environment can
/// ask for others. Returns how many it were. A check that panics names its seed, and how to run it again.
pub fn for_each_seed(count: u64, limit: Duration, check: impl Fn(u64)) -> u64 {
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (first, count, limit) = if let Some(seed) = number("TERCET_SEED") {
        (seed, 1, None)
    } else if let Some(seconds) = number("TERCET_SOAK_SECONDS") {
        (random_start(), u64::MAX, Some(Duration::from_secs(seconds)))
    } else if let Some(count) = number("TERCET_SEEDS") {
        (0, count, None)
    } else {
        (0, count, Some(limit))
    };
    let began = Instant::now();
    let mut done = 0;
    while done < count && limit.is_none_or(|limit| began.elapsed() < limit) {
        let seed = first.wrapping_add(done);
        let _named = Named(seed);
        check(seed);
        done += 1;
    }
    eprintln!("{done} seeds from {first} on in {:.1} s", began.elapsed().as_secs_f64());
    done
}

fn random_start() -> u64 {
    let mut bytes = [0; 4];
    // Without chance it is the same start every time, which is no harm.
    let _ = getrandom::fill(&mut bytes);
    u64::from(u32::from_le_bytes(bytes)) << 20
}

/// Tells the seed if the check panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or_default();
            eprintln!("seed {} failed; to run it again: TERCET_SEED={} cargo test {test}", self.0, self.0);
        }
    }
}
