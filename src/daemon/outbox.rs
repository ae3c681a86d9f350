//! Reports of alert events: written to the outbox below the data folder, then journaled, which sends them with the feed.

use super::{panorama::Chronicle, strategies::whole};
use crate::settings::Settings;
use alidade_alerts::results::{Reporter, draft, file_name, report};
use alidade_model::{
    journal::{Fact, Recorder},
    offload::Offload,
};
use std::path::PathBuf;

/// The folder of the reports, below the data folder.
pub const OUTBOX: &str = "outbox";

/// Where reports go and how.
pub struct Outbox {
    pub data_dir: PathBuf,
    pub offload: Offload,
    pub reporter: Reporter,
    /// They survive a loss of power: not worth its time in a simulation.
    pub durable: bool,
}

/// Who reports.
pub fn reporter(settings: &Settings) -> Reporter {
    Reporter {
        site: settings.site.title.clone(),
        telescope: settings.unit.telescope.clone(),
    }
}

/// Writes what is due, whenever something is; does not end.
pub async fn keep(chronicle: Chronicle, recorder: Recorder, outbox: Outbox) {
    let Outbox {
        data_dir,
        offload,
        reporter,
        durable,
    } = outbox;
    let wake = chronicle.due();
    loop {
        for record in chronicle.take_due() {
            let report = report(&record, &reporter);
            let name = file_name(&report);
            let (path, draft_path) = (format!("{OUTBOX}/{name}.json"), format!("{OUTBOX}/{name}.circular.txt"));
            let text = draft(&report);
            let document = serde_json::to_vec_pretty(&report);
            let (json_file, draft_file) = (data_dir.join(&path), data_dir.join(&draft_path));
            let written = offload
                .run(move || {
                    whole(&draft_file, text.as_bytes(), durable)?;
                    // The report names the draft's place by its own: it comes last.
                    whole(&json_file, &document.map_err(std::io::Error::other)?, durable)
                })
                .await;
            let fault = match written {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(lost) => Some(lost.to_string()),
            };
            let fact = match fault {
                None => Fact::AlertReported {
                    event: report.event.clone(),
                    path,
                    draft: draft_path,
                    report: Box::new(report),
                },
                Some(cause) => Fact::Degraded {
                    what: format!("report of {}", report.event),
                    cause,
                },
            };
            recorder.record(fact);
        }
        wake.notified().await;
    }
}
