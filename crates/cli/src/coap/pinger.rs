//! Signs of life.

use std::time::Duration;

use super::connection::connect;
use super::exit::Outcome;
use super::settings::Settings;
use crate::output::data;

pub(super) async fn run(settings: &Settings, count: u64) -> Outcome {
    match ping(settings, count).await {
        Ok(()) => Outcome::Done,
        Err(outcome) => outcome,
    }
}

async fn ping(settings: &Settings, count: u64) -> Result<(), Outcome> {
    let client = connect(settings).await?;
    for number in 1..=count {
        let took = client.ping().await?;
        data(&format!("{} is there, {:.3} ms\n", client.url(), took.as_secs_f64() * 1000.0))?;
        if number < count {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    Ok(())
}
