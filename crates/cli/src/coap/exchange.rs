//! One request.

use super::connection::{connect, request};
use super::exit::Outcome;
use super::settings::{Request, Settings};
use super::show::show;

pub(super) async fn run(settings: &Settings, job: &Request) -> Outcome {
    match exchange(settings, job).await {
        Ok(()) => Outcome::Done,
        Err(outcome) => outcome,
    }
}

async fn exchange(settings: &Settings, job: &Request) -> Result<(), Outcome> {
    let client = connect(settings).await?;
    let request = request(&client, job)?;
    if job.no_response {
        return Ok(request.forget().await?);
    }
    match request.await {
        Ok(response) => show(&response, &job.output),
        Err(error) => {
            // Whoever reads JSON gets an error of the server as it gets all answers.
            if let Some(response) = error.response().filter(|_| job.output.json || job.output.verbose) {
                show(response, &job.output)?;
            }
            Err(error.into())
        }
    }
}
