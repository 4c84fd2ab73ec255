//! Values that must never be shown: the type itself refuses to print them.

use std::fmt;

/// A value that prints as `[redacted]` whichever way it is printed or logged.
///
/// Reading it takes [`Secret::expose`], which is easy to find in a review.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret<T = String>(T);

const REDACTED: &str = "[redacted]";

impl<T> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T> slog::Value for Secret<T> {
    fn serialize(&self, _: &slog::Record<'_>, key: slog::Key, out: &mut dyn slog::Serializer) -> slog::Result {
        out.emit_str(key, REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_printed_by_no_formatter() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(
            format!("{secret} {secret:?} {:#?}", Some(&secret)),
            "[redacted] [redacted] Some(\n    [redacted],\n)"
        );
        assert_eq!(secret.expose(), "hunter2");
    }
}
