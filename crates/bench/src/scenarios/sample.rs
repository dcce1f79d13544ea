//! One run's figures.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::disk::{Device, DiskBeside};
use crate::engine::{Histogram, Tally};
use crate::peers::{Server, Threads, Usage};

/// What one run of one scenario against one peer showed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Messages delivered (or connections made) in the measured window.
    pub count: u64,
    /// Length of the measured window, in seconds.
    pub seconds: f64,
    /// `count` per second.
    pub rate: f64,
    /// The server's CPU time in the window, in seconds; absent when its process is not known.
    pub server_cpu_seconds: Option<f64>,
    /// `count` per second of the server's CPU time: the key figure.
    pub per_cpu_second: Option<f64>,
    /// Of this the CPU time of threads by name, in seconds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub thread_cpu_seconds: BTreeMap<String, f64>,
    /// Bytes written in the window to the device that the server keeps its data on, by whatever process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub written: Option<u64>,
    /// How long the server's threads waited for a core in the window, in seconds. Much of it means a busy
    /// machine, on which a server that batches does better per CPU-second than on a quiet one.
    pub server_waited_seconds: Option<f64>,
    /// The load generator's CPU time in the window, in seconds.
    pub generator_cpu_seconds: f64,
    /// Median latency, in microseconds.
    pub p50_us: Option<f64>,
    /// 99th percentile of latency, in microseconds.
    pub p99_us: Option<f64>,
    /// 99.9th percentile of latency, in microseconds.
    pub p999_us: Option<f64>,
    /// Median time from PUBLISH to PUBACK at the publishers, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confirm_p50_us: Option<f64>,
    /// 99th percentile of the same, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confirm_p99_us: Option<f64>,
    /// The disk beside the run, if its data were there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disk: Option<DiskBeside>,
    /// The server's resident memory before any client, in bytes.
    pub rss_before: Option<u64>,
    /// The server's resident memory after the window, in bytes.
    pub rss_after: Option<u64>,
    /// The server's anonymous memory before any client, in bytes.
    pub anonymous_before: Option<u64>,
    /// The server's anonymous memory after the window, in bytes.
    pub anonymous_after: Option<u64>,
    /// Figures of this scenario alone.
    pub extra: BTreeMap<String, f64>,
    /// Faults of the whole run, warm-up and drain included.
    pub faults: Tally,
    /// Why the server closed the last of the connections that it closed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closed_because: Option<String>,
    /// Whether there was no fault.
    pub clean: bool,
}

impl Sample {
    /// How much of the time the server was ready to run, but waited for a core: 0 on a quiet machine.
    pub fn waiting_share(&self) -> Option<f64> {
        let (ran, waited) = self.server_cpu_seconds.zip(self.server_waited_seconds)?;
        Some(waited / (ran + waited)).filter(|share| share.is_finite())
    }

    /// The server's CPU time for each message, in microseconds.
    pub fn cpu_us_per_message(&self) -> Option<f64> {
        self.per_cpu_second.map(|messages| 1e6 / messages)
    }

    /// Notes how long publishers waited for their confirmations.
    pub fn set_confirm_latency(&mut self, latency: &Histogram) {
        let us = |quantile| Some(latency.quantile(quantile) as f64 / 1000.0);
        if latency.count() > 0 {
            (self.confirm_p50_us, self.confirm_p99_us) = (us(0.5), us(0.99));
        }
    }

    /// Notes latencies.
    pub fn set_latency(&mut self, latency: &Histogram) {
        let us = |quantile| Some(latency.quantile(quantile) as f64 / 1000.0);
        if latency.count() > 0 {
            (self.p50_us, self.p99_us, self.p999_us) = (us(0.5), us(0.99), us(0.999));
        }
    }

    /// Notes the server's memory before any client and now.
    pub fn set_memory(&mut self, before: Option<Usage>, after: Option<Usage>) {
        self.rss_before = before.map(|usage| usage.rss);
        self.anonymous_before = before.map(|usage| usage.anonymous);
        self.rss_after = after.map(|usage| usage.rss);
        self.anonymous_after = after.map(|usage| usage.anonymous);
    }

    /// Notes the faults of the run.
    pub fn set_faults(&mut self, faults: Tally) {
        self.faults = faults;
        self.clean = faults.is_clean();
    }

    /// The faults in words.
    pub fn describe_faults(&self) -> String {
        let reason = self.closed_because.as_ref().map(|reason| format!(" ({reason})"));
        format!("{}{}", self.faults.describe(), reason.unwrap_or_default())
    }

    /// Notes a figure of this scenario alone.
    pub fn set_extra(&mut self, name: &str, value: f64) {
        self.extra.insert(name.to_owned(), value);
    }
}

/// A measured window: the clocks of both processes at its begin.
#[derive(Debug)]
pub struct Window {
    began: Instant,
    server: Option<Usage>,
    threads: Threads,
    device: Option<(Device, u64)>,
    generator: Option<Usage>,
    count: u64,
}

impl Window {
    /// Begins a window in which `count` messages had been delivered before.
    pub fn begin(server: &Server, count: u64) -> Self {
        let generator = Usage::of(std::process::id());
        let device = server.data().and_then(Device::of);
        let device = device.and_then(|device| device.written().map(|written| (device, written)));
        let threads = server.threads();
        Window { server: server.usage(), threads, device, generator, began: Instant::now(), count }
    }

    /// Ends it, with `count` delivered by now.
    pub fn end(self, server: &Server, count: u64) -> Sample {
        let seconds = self.began.elapsed().as_secs_f64();
        self.settle(server, count, seconds)
    }

    /// Seconds since it began.
    pub fn elapsed(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Ends a window of a fixed amount of work that was done after `seconds`; what CPU time the server used
    /// since then (the last acknowledgements) still belongs to that work.
    pub fn settle(self, server: &Server, count: u64, seconds: f64) -> Sample {
        let after = server.usage();
        let cpu = after.zip(self.server).map(|(after, before)| after.cpu_seconds_since(&before));
        let waited = after.zip(self.server).map(|(after, before)| after.waited_seconds_since(&before));
        let generator = Usage::of(std::process::id()).zip(self.generator);
        let device = self.device.as_ref();
        let written = device.and_then(|(device, before)| Some(device.written()?.saturating_sub(*before)));
        let ran = |(name, after): (String, u64)| {
            let before = self.threads.get(&name).copied().unwrap_or(0);
            (name, after.saturating_sub(before) as f64 / 1e9)
        };
        let count = count.saturating_sub(self.count);
        Sample {
            count,
            seconds,
            rate: count as f64 / seconds,
            server_cpu_seconds: cpu,
            thread_cpu_seconds: server.threads().into_iter().map(ran).filter(|(_, ran)| *ran > 0.0).collect(),
            written,
            server_waited_seconds: waited,
            per_cpu_second: cpu.filter(|cpu| *cpu > 0.0).map(|cpu| count as f64 / cpu),
            generator_cpu_seconds: generator.map_or(0.0, |(after, before)| after.cpu_seconds_since(&before)),
            ..Sample::default()
        }
    }
}
