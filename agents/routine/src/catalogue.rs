//! What exists at this site, and whether a request fits it.

use alidade_model::request::{Request, RequestFault};
use std::collections::BTreeMap;

/// Channels with their filters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    pub channels: BTreeMap<String, Vec<String>>,
}

impl Catalogue {
    /// Checks a request's numbers and everything that it names; `known` says whether there is such a user.
    pub fn accept(&self, request: &Request, known: impl Fn(&str) -> bool) -> Result<(), RequestFault> {
        request.check()?;
        for sequence in &request.sequences {
            if !known(&sequence.user) {
                return Err(RequestFault::UnknownUser {
                    user: sequence.user.clone(),
                });
            }
            for album in &sequence.albums {
                let Some(filters) = self.channels.get(&album.channel) else {
                    return Err(RequestFault::UnknownChannel {
                        sequence: sequence.id.clone(),
                        channel: album.channel.clone(),
                        known: self.channels.keys().cloned().collect::<Vec<_>>().join(", "),
                    });
                };
                for plan in &album.plans {
                    // A channel without a wheel has no filters to name.
                    if !filters.is_empty() && !filters.contains(&plan.filter) {
                        return Err(RequestFault::UnknownFilter {
                            sequence: sequence.id.clone(),
                            channel: album.channel.clone(),
                            filter: plan.filter.clone(),
                            known: filters.join(", "),
                        });
                    }
                }
            }
        }
        Ok(())
    }
}
