//! Everything that was measured, as it goes into the JSON file.

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::mqtt::wire::Version;
use crate::peers::Protocol;
use crate::scenarios::{Sample, Section};

/// A whole session: where, what, who, and every single run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Results {
    /// Version of the load generator.
    pub generator: String,
    /// The command line that repeats the session.
    pub command: String,
    /// Where it ran.
    pub machine: Machine,
    /// MQTT version of all clients.
    pub protocol: Version,
    /// Load before each measured window, in seconds.
    pub warm_up_seconds: f64,
    /// Measured window, in seconds (scenarios with a fixed amount of work take their own time).
    pub measured_seconds: f64,
    /// Repetitions asked for.
    pub rounds: u32,
    /// Sizes of the big scenarios were divided by this; 1 in a real measurement.
    pub shrink: usize,
    /// The scenarios.
    pub scenarios: Vec<ScenarioInfo>,
    /// The peers.
    pub peers: Vec<PeerInfo>,
    /// Every run, in the order in which they happened.
    pub runs: Vec<Run>,
    /// Whether the session was cut short.
    pub interrupted: bool,
}

/// A scenario's name and parameters.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScenarioInfo {
    /// Stable name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// How its figures are shown.
    #[serde(default)]
    pub section: Section,
    /// What its clients speak.
    #[serde(default)]
    pub protocol: Protocol,
}

/// A peer's identity and settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Short name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Settings.
    pub settings: String,
}

/// One run: a sample, or why there is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Scenario.
    pub scenario: String,
    /// Peer.
    pub peer: String,
    /// Repetition, from one.
    pub round: u32,
    /// Its figures.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sample: Option<Sample>,
    /// Why it has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}
