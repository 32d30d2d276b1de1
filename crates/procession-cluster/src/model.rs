//! A cluster without a broker and without processes: the real master and the real leases, driven in modelled time.
//!
//! No part of the interface: it exists only with the feature `model`, for the study of `tests/model`, and changes without
//! notice. The master decides as in a job, and each agent's leases as in an agent. What surrounds them (the master's one
//! processor, the way to the broker, its streams, the agents' pools) is a model whose costs are [`Costs`]; it has no faults, as
//! the tests of the master have those. The same seed gives the same run.
//!
//! Requests for chunks do not run out here, so that what agents without work cost the broker is not seen.

mod agent;
mod broker;
mod costs;
mod engine;
mod hand;
mod rates;
#[cfg(test)]
mod tests;

pub use costs::Costs;
pub use engine::{Fleet, Items, Report, run};
pub use rates::store_and_purge;
