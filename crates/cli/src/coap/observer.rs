//! Following a resource.

use tercet_client::coap::Observation;
use tokio::time::{Instant, timeout_at};

use super::connection::{connect, request};
use super::exit::Outcome;
use super::settings::{Observe, Settings};
use super::show::show_state;
use crate::interrupt::interrupted;
use crate::output::talk;

pub(super) async fn run(settings: &Settings, job: &Observe) -> Outcome {
    let registering = async {
        let client = connect(settings).await?;
        Ok(request(&client, &job.request)?.observe().await?)
    };
    let states = tokio::select! {
        registered = registering => registered,
        () = interrupted() => return Outcome::Interrupted,
    };
    let mut states = match states {
        Ok(states) => states,
        Err(outcome) => return outcome,
    };
    if !states.is_notified() {
        talk("warning: the server does not notify; it is asked again when its answer is no longer fresh");
    }
    let outcome = tokio::select! {
        outcome = follow(&mut states, job) => outcome,
        () = interrupted() => Outcome::Interrupted,
    };
    states.cancel().await;
    outcome
}

/// Shows states until it is time to stop.
async fn follow(states: &mut Observation, job: &Observe) -> Outcome {
    let deadline = job.duration.map(|duration| Instant::now() + duration);
    let mut left = job.count;
    while left != Some(0) {
        let state = match deadline {
            None => states.next().await,
            Some(deadline) => match timeout_at(deadline, states.next()).await {
                Ok(state) => state,
                Err(_) => break,
            },
        };
        let shown = match state {
            None => break,
            Some(Ok(state)) => show_state(&state, &job.request.output),
            Some(Err(error)) => Err(error.into()),
        };
        if let Err(outcome) = shown {
            return outcome;
        }
        left = left.map(|left| left - 1);
    }
    Outcome::Done
}
