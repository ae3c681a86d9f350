//! The shell.

use actix::prelude::*;
use alidade_model::{journal::Recorder, offload::Offload};
use alidade_observation::messages::FrameReady;
use std::{collections::BTreeMap, path::PathBuf};

pub struct AnalysisPorts {
    pub recorder: Recorder,
    pub offload: Offload,
    pub data_dir: PathBuf,
}

#[derive(Debug, Clone, Default)]
pub struct AnalysisSettings {
    pub channels: BTreeMap<String, ChannelOptics>,
    pub lon_deg: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelOptics {
    pub gain_e_adu: f64,
    pub read_noise_e: f64,
    pub saturation_adu: f64,
}

pub struct Analysis {
    #[allow(dead_code)]
    ports: AnalysisPorts,
    #[allow(dead_code)]
    settings: AnalysisSettings,
}

impl Analysis {
    pub fn new(ports: AnalysisPorts, settings: AnalysisSettings) -> Self {
        Self { ports, settings }
    }
}

impl Actor for Analysis {
    type Context = Context<Self>;
}

impl Handler<FrameReady> for Analysis {
    type Result = ();
    fn handle(&mut self, _: FrameReady, _: &mut Self::Context) {}
}
