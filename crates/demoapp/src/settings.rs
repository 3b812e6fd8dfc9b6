//! Owns what the environment may say. A value that cannot be read ends the program with a message
//! naming the variable; nothing is silently replaced by a default.

use std::time::Duration;

/// How the application behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `APP_VERSION`: what it says it is.
    pub version: String,
    /// `POD_NAME`: where it says it runs.
    pub pod: String,
    /// `ERROR_RATE`: share of requests answered with 500, from 0 to 1.
    pub error_rate: f64,
    /// `LATENCY_MS`: how long each answer takes.
    pub latency: Duration,
    /// `PORT`: where it listens.
    pub port: u16,
    /// `BIND_ADDRESS`: on which address it listens.
    pub address: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: "0.0.0".to_owned(),
            pod: String::new(),
            error_rate: 0.0,
            latency: Duration::ZERO,
            port: 9898,
            address: "0.0.0.0".to_owned(),
        }
    }
}

/// A variable whose value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The variable.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub wanted: &'static str,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}={}` cannot be used: it must be {}",
            self.variable, self.value, self.wanted
        )
    }
}

impl std::error::Error for Unusable {}

impl Settings {
    /// Reads the settings by asking `variable` for each name.
    ///
    /// # Errors
    /// [`Unusable`] names the first variable whose value cannot be used.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Unusable> {
        let mut settings = Self::default();
        let text = |name: &str| variable(name).filter(|v| !v.is_empty());
        if let Some(version) = text("APP_VERSION") {
            settings.version = version;
        }
        if let Some(pod) = text("POD_NAME").or_else(|| text("HOSTNAME")) {
            settings.pod = pod;
        }
        if let Some(address) = text("BIND_ADDRESS") {
            settings.address = address;
        }
        if let Some(value) = text("ERROR_RATE") {
            let rate = value.parse().ok().filter(|r| (0.0..=1.0).contains(r));
            let wanted = "a number from 0 to 1";
            settings.error_rate = rate.ok_or(Unusable {
                variable: "ERROR_RATE",
                value,
                wanted,
            })?;
        }
        if let Some(value) = text("LATENCY_MS") {
            let latency = value.parse().ok().filter(|ms| *ms <= 60_000);
            let wanted = "a whole number of milliseconds, at most 60000";
            let latency = latency.ok_or(Unusable {
                variable: "LATENCY_MS",
                value,
                wanted,
            })?;
            settings.latency = Duration::from_millis(latency);
        }
        if let Some(value) = text("PORT") {
            let port = value.parse().ok();
            settings.port = port.ok_or(Unusable {
                variable: "PORT",
                value,
                wanted: "a TCP port",
            })?;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_are_named() {
        let read = |name: &'static str, value: &'static str| {
            Settings::read(move |n| (n == name).then(|| value.to_owned()))
        };
        assert_eq!(read("ERROR_RATE", "0.3").map(|s| s.error_rate), Ok(0.3));
        for (name, value) in [
            ("ERROR_RATE", "2"),
            ("ERROR_RATE", "NaN"),
            ("LATENCY_MS", "-1"),
            ("PORT", "x"),
        ] {
            assert_eq!(
                read(name, value).map_err(|e| e.variable),
                Err(name),
                "{name}={value}"
            );
        }
    }
}
