//! Exposures, products, reductions, solutions, pipeline runs and observation-unit sets.

use super::Place;
use crate::store::{
    connection::{AnyConnection, insert_new, on_either},
    rows::{ExposureRow, ProductRow, finite, whole},
    schema::*,
};
use alidade_model::{exposure::ExposureOutcome, journal::Fact};
use diesel::prelude::*;

pub(super) fn project(c: &mut AnyConnection, place: Place, fact: &Fact) -> QueryResult<()> {
    match fact {
        Fact::ExposureStarted { exposure } => {
            insert_new!(c, exposures::table, [ExposureRow::new(place.seq, exposure)]);
        }
        Fact::ExposureEnded { exposure, outcome } => {
            let (word, product, cause) = match outcome {
                ExposureOutcome::Written { product } => ("written", Some(product), None),
                ExposureOutcome::Aborted { cause } => ("aborted", None, Some(cause)),
                ExposureOutcome::Failed { cause } => ("failed", None, Some(cause)),
            };
            on_either!(c, c => {
                diesel::update(exposures::table.find(exposure))
                    .set((
                        exposures::ended_at.eq(place.at),
                        exposures::outcome.eq(word),
                        exposures::product_id.eq(product),
                        exposures::cause.eq(cause),
                    ))
                    .execute(c)?;
            });
        }
        Fact::ProductMade { product } => {
            insert_new!(c, products::table, [ProductRow::new(place.seq, product)]);
        }
        Fact::FrameReduced { .. } => reduced(c, place, fact)?,
        Fact::FrameSolved { .. } => solved(c, place, fact)?,
        Fact::RunMoved {
            run,
            pipeline,
            to,
            cause,
            ..
        } => {
            let standing = (
                pipeline_runs::pipeline.eq(pipeline),
                pipeline_runs::state.eq(to.as_str()),
                pipeline_runs::cause.eq(cause),
                pipeline_runs::moved_at.eq(place.at),
            );
            let key = (
                pipeline_runs::id.eq(run),
                pipeline_runs::seq.eq(place.row()),
                pipeline_runs::created_at.eq(place.at),
            );
            on_either!(c, c => {
                if diesel::update(pipeline_runs::table.find(run)).set(standing).execute(c)? == 0 {
                    diesel::insert_into(pipeline_runs::table).values((key, standing)).execute(c)?;
                }
            });
        }
        Fact::UnitMoved {
            unit,
            program,
            to,
            author,
            cause,
            ..
        } => {
            use observation_unit_sets as sets;
            let standing = (
                sets::program.eq(program),
                sets::state.eq(to.as_str()),
                sets::author.eq(author),
                sets::cause.eq(cause),
                sets::moved_at.eq(place.at),
            );
            let key = (
                sets::id.eq(unit),
                sets::seq.eq(place.row()),
                sets::created_at.eq(place.at),
            );
            on_either!(c, c => {
                if diesel::update(sets::table.find(unit)).set(standing).execute(c)? == 0 {
                    diesel::insert_into(sets::table).values((key, standing)).execute(c)?;
                }
            });
        }
        _ => {}
    }
    Ok(())
}

fn reduced(c: &mut AnyConnection, place: Place, fact: &Fact) -> QueryResult<()> {
    let Fact::FrameReduced {
        exposure,
        sources,
        fwhm_px,
        background,
        rms,
        degradations,
    } = fact
    else {
        return Ok(());
    };
    let degradations =
        serde_json::to_string(degradations).map_err(|e| diesel::result::Error::SerializationError(Box::new(e)))?;
    let measured = (
        frame_reductions::seq.eq(place.row()),
        frame_reductions::reduced_at.eq(place.at),
        frame_reductions::sources.eq(whole(*sources)),
        frame_reductions::fwhm_px.eq(fwhm_px.and_then(finite)),
        frame_reductions::background.eq(finite(*background)),
        frame_reductions::rms.eq(finite(*rms)),
        frame_reductions::degradations.eq(&degradations),
    );
    on_either!(c, c => {
        if diesel::update(frame_reductions::table.find(exposure)).set(measured).execute(c)? == 0 {
            diesel::insert_into(frame_reductions::table)
                .values((frame_reductions::exposure_id.eq(exposure), measured))
                .execute(c)?;
        }
    });
    Ok(())
}

fn solved(c: &mut AnyConnection, place: Place, fact: &Fact) -> QueryResult<()> {
    let Fact::FrameSolved {
        exposure,
        ra_deg,
        dec_deg,
        matched,
        zero_point,
        limiting_mag,
        ..
    } = fact
    else {
        return Ok(());
    };
    let measured = (
        frame_solutions::seq.eq(place.row()),
        frame_solutions::ra_deg.eq(finite(*ra_deg)),
        frame_solutions::dec_deg.eq(finite(*dec_deg)),
        frame_solutions::matched.eq(whole(*matched)),
        frame_solutions::zero_point.eq(zero_point.and_then(finite)),
        frame_solutions::limiting_mag.eq(limiting_mag.and_then(finite)),
    );
    on_either!(c, c => {
        if diesel::update(frame_solutions::table.find(exposure)).set(measured).execute(c)? == 0 {
            diesel::insert_into(frame_solutions::table)
                .values((frame_solutions::exposure_id.eq(exposure), measured))
                .execute(c)?;
        }
    });
    Ok(())
}
