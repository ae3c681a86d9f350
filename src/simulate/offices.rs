//! What the page of a simulated night has beside the observatory when people log in there: accounts with the code of the
//! first administrator, packages, pipelines, and the station of the data. They are the running daemon's own, on the night's
//! database and in its folder; they live in wall time, as their threads and sessions do.

use super::plan::NightPlan;
use crate::{
    daemon::{delivery, live, packages, packages::DrivenDesk, people, pipelines},
    error::CliError,
    gateway::{
        http::{DataDesk, HttpPorts},
        people::People,
        runs::RunDesk,
    },
    log,
};
use alidade_accounts::Role;
use alidade_delivery::agent::Intake;
use std::{net::SocketAddr, sync::Arc};

/// See the module's text. Dropping it ends what it drives.
pub struct Offices {
    people: Arc<People>,
    packages: Option<DrivenDesk>,
    pipelines: Arc<dyn RunDesk>,
    data: DataDesk,
    intake: Intake,
    _station: delivery::Running,
}

impl Offices {
    /// `plan` names a database that can be opened more than once. Says the first administrator's code on standard error.
    pub fn open(plan: &NightPlan, address: SocketAddr) -> Result<Self, CliError> {
        let mut settings = plan.settings.clone();
        settings.database.url.clone_from(&plan.database);
        settings.storage.data_dir = plan.data_dir();
        settings.http.listen = address;
        let folder = &settings.storage.data_dir;
        std::fs::create_dir_all(folder).map_err(|e| CliError::bad_input(format!("{}: {e}", folder.display())))?;
        let (station, intake, data) = live::delivery(&settings, None)?;
        let packages = packages::open(folder, &plan.database, &settings.storage.package_executors);
        Ok(Self {
            people: people::open(&settings)?,
            packages: packages
                .map_err(|cause| log::say(format_args!("no packages: {cause}")))
                .ok(),
            pipelines: pipelines::conduct(&settings),
            data,
            intake,
            _station: station,
        })
    }

    /// What hands finished runs to the station.
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// The ports with all of it; nobody is anybody without saying who they are.
    pub fn furnish(&self, ports: HttpPorts) -> HttpPorts {
        HttpPorts {
            people: Some(self.people.clone()),
            packages: self.packages.as_ref().map(|driven| driven.desks.clone()),
            pipelines: Some(self.pipelines.clone()),
            data: Some(self.data.clone()),
            at_the_machine: Role::Visitor,
            ..ports
        }
    }
}
