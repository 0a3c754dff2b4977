//! Contenders that take turns in one process.
//!
//! Each runs a block at a time, with a pause before it, as ONNX Runtime's threads go on waiting for
//! a while. On a busy machine, the CPU time says more than the time on the clock, on one thread
//! most (on several, ONNX Runtime's waiting counts).

use std::fmt::Display;
use std::time::{Duration, Instant};

use fer::Backend;
use fer::ort::{Provider, ProviderOptions};

const PAUSE: Duration = Duration::from_millis(100);

/// A name, and what is timed.
pub type Contender<'a> = (&'a str, Box<dyn FnMut() + 'a>);

/// What `load` gives to time on each engine; one that is absent is named and left out.
pub fn engines<'a, E: Display>(
    load: impl Fn(Backend) -> Result<Box<dyn FnMut() + 'a>, E>,
) -> Vec<Contender<'a>> {
    let ort = Backend::Ort {
        provider: Provider::Cpu,
        options: ProviderOptions::default(),
        library: None,
    };
    let both = [
        ("compiled in", Backend::Burn(Default::default())),
        ("ONNX Runtime", ort),
    ];
    let loaded = both
        .into_iter()
        .map(|(name, backend)| (name, load(backend)));
    loaded
        .filter_map(|(name, once)| {
            once.map_err(|e| eprintln!("skipped: {name}: {e}"))
                .ok()
                .map(|once| (name, once))
        })
        .collect()
}

/// Prints each contender's times over `blocks` of `runs`, and the ratio of the first to the last
/// one's within a block.
pub fn turns(mut contenders: Vec<Contender>, blocks: usize, runs: usize) {
    let mut times = vec![Vec::new(); contenders.len()];
    let mut on_cpu = vec![Vec::new(); contenders.len()];
    let mut ratios = Vec::new();
    for block in 0..=blocks {
        let mut medians = Vec::new();
        let all = times.iter_mut().zip(&mut on_cpu);
        for ((_, once), (times, on_cpu)) in contenders.iter_mut().zip(all) {
            std::thread::sleep(PAUSE);
            let before = cpu_time();
            let mut own: Vec<f64> = (0..runs).map(|_| milliseconds(once)).collect();
            let after = cpu_time();
            medians.push(median(&mut own));
            // The first block warms up.
            if block > 0 {
                times.extend(own);
                if let (Some(before), Some(after)) = (before, after) {
                    on_cpu.push((after - before) / runs as f64);
                }
            }
        }
        if let ([first, .., last], true) = (&medians[..], block > 0) {
            ratios.push(first / last);
        }
    }
    for (((name, _), times), on_cpu) in contenders.iter().zip(&mut times).zip(&mut on_cpu) {
        let median = median(times);
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        print!(
            "{name:14} median {median:.2} ms, least {:.2}, 90 % {:.2}, 99 % {:.2}",
            at(0),
            at(90),
            at(99)
        );
        if !on_cpu.is_empty() {
            let (middle, least) = (self::median(on_cpu), on_cpu[0]);
            print!("; CPU time, of blocks: median {middle:.2} ms, least {least:.2}");
        }
        println!();
    }
    if let [(first, _), .., (last, _)] = &contenders[..] {
        let middle = median(&mut ratios);
        println!(
            "{first} ÷ {last}, medians of a block: {middle:.2} ({:.2}–{:.2})",
            ratios[0],
            ratios[ratios.len() - 1]
        );
    }
}

/// The number that an environment variable holds.
pub fn number(name: &str) -> Option<usize> {
    let value = std::env::var(name).ok();
    value.map(|value| value.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// The threads to use, by `FER_BENCH_THREADS`: else one per core.
pub fn threads() -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
    number("FER_BENCH_THREADS").unwrap_or_else(cores)
}

fn milliseconds(once: &mut dyn FnMut()) -> f64 {
    let began = Instant::now();
    once();
    began.elapsed().as_secs_f64() * 1e3
}

/// The CPU time of all threads in milliseconds, on Linux.
fn cpu_time() -> Option<f64> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let of = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    let nanoseconds: f64 = threads.flatten().filter_map(|entry| of(entry.path())).sum();
    Some(nanoseconds / 1e6)
}

/// The middle one; they are sorted then.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
