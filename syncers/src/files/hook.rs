//! A place to stop or fail at each call that touches a tree, for tests.

use std::io;
use std::sync::Arc;

type Check = dyn Fn(&str, &[u8]) -> io::Result<()> + Send + Sync;

/// Called before each call that reads or changes a tree, with the call's name and the path; an error stands for
/// the call's own.
#[derive(Clone, Default)]
pub struct Hook(Option<Arc<Check>>);

impl Hook {
    /// Makes a hook.
    pub fn new(check: impl Fn(&str, &[u8]) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(check)))
    }

    pub(super) fn reached(&self, call: &str, path: &[u8]) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |check| check(call, path))
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Hook(set)" } else { "Hook(none)" })
    }
}
