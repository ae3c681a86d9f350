//! Large neighbourhood search.
use super::relax::Search;
use super::rng::Rng;
use super::Meter;
pub(super) fn run(_search: &mut Search, _meter: &mut Meter, _rng: &mut Rng, _gap: f64) {}
