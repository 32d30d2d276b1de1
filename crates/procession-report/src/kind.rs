//! The few kinds of outcome that a figure can tell apart.

/// What an outcome is drawn as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// It has a value.
    Value,
    /// Its task said no, or its value could not travel.
    Failed,
    /// Its worker was lost with it, or had to be stopped.
    Lost,
    /// It did not run, or nobody knows.
    Absent,
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [Kind::Value, Kind::Failed, Kind::Lost, Kind::Absent];

    /// Of the outcome's word in the run store. A word that is not known is a failure: that draws the eye.
    pub(crate) fn of(outcome: &str) -> Kind {
        match outcome {
            procession_store::OK => Kind::Value,
            "worker_lost" | "out_of_memory" | "timed_out" | "quarantined" | "terminated" => Kind::Lost,
            "not_run" | "unknown" | "cancelled" | "invalid_input" => Kind::Absent,
            _ => Kind::Failed,
        }
    }

    /// Its style in the page.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Kind::Value => "value",
            Kind::Failed => "failed",
            Kind::Lost => "lost",
            Kind::Absent => "absent",
        }
    }

    /// What it is called in a legend.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Kind::Value => "value",
            Kind::Failed => "failed",
            Kind::Lost => "lost or stopped",
            Kind::Absent => "did not run, or unknown",
        }
    }
}
