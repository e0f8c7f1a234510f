//! Numbers and texts as bytes, for files of our own that come back to the build that wrote them: numbers of seven bits a byte, lists and
//! texts behind their length. What was not written so is read as nothing, never beyond its end.

use super::DType;

/// Bytes in the making.
#[derive(Default)]
pub struct Packer(pub Vec<u8>);

impl Packer {
    /// A number, in up to ten bytes.
    pub fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    /// A size.
    pub fn size(&mut self, n: usize) {
        self.number(n as u64);
    }

    /// Yes or no.
    pub fn flag(&mut self, f: bool) {
        self.0.push(u8::from(f));
    }

    /// An element type.
    pub fn dtype(&mut self, d: DType) {
        self.0.push(d as u8);
    }

    /// Bytes behind their number.
    pub fn bytes(&mut self, b: &[u8]) {
        self.size(b.len());
        self.0.extend_from_slice(b);
    }

    /// Items behind their number.
    pub fn list<T>(&mut self, items: &[T], mut one: impl FnMut(&mut Self, &T)) {
        self.size(items.len());
        items.iter().for_each(|i| one(self, i));
    }

    /// An item, if it is there.
    pub fn option<T>(&mut self, item: Option<T>, one: impl FnOnce(&mut Self, T)) {
        self.flag(item.is_some());
        if let Some(i) = item {
            one(self, i);
        }
    }
}

/// What is left of packed bytes.
pub struct Unpacker<'a>(pub &'a [u8]);

impl<'a> Unpacker<'a> {
    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let (&b, rest) = self.0.split_first()?;
            self.0 = rest;
            n |= u64::from(b & 0x7f).checked_shl(shift)?;
            if b < 0x80 {
                return Some(n);
            }
        }
        None
    }

    /// A number of 32 bits.
    pub fn word(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    /// A size.
    pub fn size(&mut self) -> Option<usize> {
        self.number()?.try_into().ok()
    }

    /// Yes or no.
    pub fn flag(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// An element type.
    pub fn dtype(&mut self) -> Option<DType> {
        let n = self.number()?;
        DType::ALL.into_iter().find(|&d| d as u64 == n)
    }

    /// Bytes.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let n = self.size()?;
        let (b, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(b)
    }

    /// A text.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Items; each takes a byte at least.
    pub fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let n = self.size()?;
        if n > self.0.len() {
            return None;
        }
        (0..n).map(|_| one(self)).collect()
    }

    /// An item, if it is there.
    pub fn option<T>(&mut self, one: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { one(self).map(Some) } else { Some(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_back() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let mut p = Packer::default();
        p.list(&numbers, |p, &n| p.number(n));
        p.list(&DType::ALL, |p, &d| p.dtype(d));
        p.option(Some("text"), |p, t| p.bytes(t.as_bytes()));
        p.option(None::<u64>, |p, n| p.number(n));
        let mut u = Unpacker(&p.0);
        assert_eq!(u.list(|u| u.number()).unwrap(), numbers);
        assert_eq!(u.list(|u| u.dtype()).unwrap(), DType::ALL);
        assert_eq!(u.option(|u| u.text()), Some(Some("text")));
        assert_eq!(u.option(|u| u.number()), Some(None));
        assert!(u.0.is_empty() && u.number().is_none());
    }

    #[test]
    fn nothing_is_read_beyond_the_end() {
        for bytes in [&[0x80u8; 20][..], &[5, 1, 2], &[0xff, 0xff, 0xff, 0xff, 0x0f, 0], &[2, 0xff]] {
            assert_eq!(Unpacker(bytes).text(), None);
            assert!(Unpacker(bytes).list(|u| u.bytes()).is_none());
        }
    }
}
