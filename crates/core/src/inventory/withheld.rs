//! Why a backend takes no new players.

use std::fmt;

/// Why a backend takes no new players. Its sessions go on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// Its object has been asked to end.
    Terminating,
    /// Its object has the label or annotation `udp-director.io/draining: "true"`.
    Draining,
    /// It runs on a Node that is cordoned: `spec.unschedulable`.
    Cordoned,
    /// Its object is not ready by its kind's own signs; what it says instead.
    NotReady(Box<str>),
    /// A condition of `readyWhen` does not hold; its path.
    Condition(Box<str>),
    /// The Service that stands for it leads to nothing that is ready.
    NoEndpoint,
    /// It is known from before the restart alone, and has not been listed since.
    Unconfirmed,
}

impl Withheld {
    /// Whether somebody wants it so, and players had better leave at once. What is not ready may be
    /// ready again in a moment.
    pub fn is_meant(&self) -> bool {
        matches!(self, Withheld::Terminating | Withheld::Draining | Withheld::Cordoned)
    }

    /// The reason's name.
    pub fn reason(&self) -> &'static str {
        match self {
            Withheld::Terminating => "terminating",
            Withheld::Draining => "draining",
            Withheld::Cordoned => "cordoned",
            Withheld::NotReady(_) => "not_ready",
            Withheld::Condition(_) => "condition",
            Withheld::NoEndpoint => "no_endpoint",
            Withheld::Unconfirmed => "unconfirmed",
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Withheld::Terminating => f.write_str("it terminates"),
            Withheld::Draining => f.write_str("it drains (udp-director.io/draining)"),
            Withheld::Cordoned => f.write_str("its Node is cordoned"),
            Withheld::NotReady(says) => write!(f, "it is not ready: {says}"),
            Withheld::Condition(path) => write!(f, "readyWhen {path} does not hold"),
            Withheld::NoEndpoint => f.write_str("its Service has no ready endpoint"),
            Withheld::Unconfirmed => f.write_str("it has not been listed since the restart"),
        }
    }
}
