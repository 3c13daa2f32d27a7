//! Sampling methods, which the API names as the web UI did before version 1.9: method and noise schedule in one.

/// A sampling method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampling {
    /// The name as the caller gave it, such as `DPM++ 2M Karras`.
    pub joint: String,
    /// The method, such as `DPM++ 2M`.
    pub method: String,
    /// The noise schedule; `None` is the model's own.
    pub schedule: Option<Schedule>,
}

/// A noise schedule that the name of a sampling method may end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// That of Karras et al.
    Karras,
    /// The exponential one.
    Exponential,
}

impl Schedule {
    /// Returns its name in the web UI.
    pub const fn name(self) -> &'static str {
        match self {
            Schedule::Karras => "Karras",
            Schedule::Exponential => "Exponential",
        }
    }
}

impl Sampling {
    /// Takes a name apart.
    pub fn parse(joint: &str) -> Self {
        let joint = joint.trim();
        let found = [Schedule::Karras, Schedule::Exponential].into_iter().find_map(|schedule| {
            let method = joint.strip_suffix(schedule.name())?.strip_suffix(' ')?;
            Some((method, schedule))
        });
        let (method, schedule) = match found {
            Some((method, schedule)) => (method, Some(schedule)),
            None => (joint, None),
        };
        Self { joint: joint.to_owned(), method: method.to_owned(), schedule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_split_off_the_name() {
        for (joint, method, schedule) in [
            ("DPM++ 2M Karras", "DPM++ 2M", Some(Schedule::Karras)),
            ("DPM++ 2M SDE Exponential", "DPM++ 2M SDE", Some(Schedule::Exponential)),
            (" Euler a ", "Euler a", None),
            ("Karras", "Karras", None),
        ] {
            let sampling = Sampling::parse(joint);
            assert_eq!((sampling.method.as_str(), sampling.schedule), (method, schedule));
        }
    }
}
