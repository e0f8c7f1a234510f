//! What a backend made of a schedule on its way to an executable, to be kept beyond the process.

use crate::base::Result;

/// Artefacts of one schedule, in the order in which they are made. Making them takes the same course every time, so that they need no names.
#[derive(Default)]
pub struct Artefacts {
    given: std::vec::IntoIter<Vec<u8>>,
    made: Option<Vec<Vec<u8>>>,
}

impl Artefacts {
    /// They are to be kept: see [`made`](Artefacts::made).
    pub fn kept() -> Artefacts {
        Artefacts { made: Some(Vec::new()), ..Artefacts::default() }
    }

    /// Those of an equal schedule, on a device of the same [identity](super::Backend::identity).
    pub fn given(all: Vec<Vec<u8>>) -> Artefacts {
        Artefacts { given: all.into_iter(), made: None }
    }

    /// The next one: from its bytes, or made, where there are none or they are not its own.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn next<T>(
        &mut self,
        unpack: impl FnOnce(&[u8]) -> Option<T>,
        make: impl FnOnce() -> Result<T>,
        pack: impl FnOnce(&T) -> Vec<u8>,
    ) -> Result<T> {
        if let Some(found) = self.given.next().and_then(|bytes| unpack(&bytes)) {
            return Ok(found);
        }
        let made = make()?;
        if let Some(all) = &mut self.made {
            all.push(pack(&made));
        }
        Ok(made)
    }

    /// Those made, if they are to be kept.
    pub fn made(self) -> Vec<Vec<u8>> {
        self.made.unwrap_or_default()
    }
}
