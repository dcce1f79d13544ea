//! Following a resource.

use super::connection::{connect, request};
use super::exit::Outcome;
use super::settings::{Observe, Settings};
use super::show::show_state;
use crate::output::talk;

pub(super) async fn run(settings: &Settings, job: &Observe) -> Outcome {
    let outcome = observe(settings, job).await.unwrap_or_else(|outcome| outcome);
    // The task that deregisters gets its turn before the runtime ends.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    outcome
}

async fn observe(settings: &Settings, job: &Observe) -> Result<Outcome, Outcome> {
    let client = connect(settings).await?;
    let mut states = request(&client, &job.request)?.observe().await?;
    if !states.is_notified() {
        talk("warning: the server does not notify; it is asked again when its answer is no longer fresh");
    }
    let deadline = job.duration.map(|duration| tokio::time::Instant::now() + duration);
    let mut left = job.count;
    while left != Some(0) {
        let state = match deadline {
            None => states.next().await,
            Some(deadline) => match tokio::time::timeout_at(deadline, states.next()).await {
                Ok(state) => state,
                Err(_) => break,
            },
        };
        let Some(state) = state else { break };
        show_state(&state?, &job.request.output)?;
        left = left.map(|left| left - 1);
    }
    // Ends the observation.
    drop(states);
    Ok(Outcome::Done)
}
