//! The protobuf wire format (protobuf.dev, "Encoding"), as far as a scan needs it.

/// Deepest nesting of groups that is skipped.
const GROUP_DEPTH_MAX: u32 = 100;

/// Why bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// A variable-length integer of more than ten bytes.
    #[error("a number is longer than ten bytes")]
    Varint,
    /// The bytes end inside a field.
    #[error("it ends inside a field")]
    Truncated,
    /// Field number 0, or above 2^29 - 1.
    #[error("a field number is out of range")]
    FieldNumber,
    /// Wire types 6 and 7 do not exist.
    #[error("a field has a wire type that does not exist")]
    WireType,
    /// A group that never ends, or ends twice.
    #[error("a group is not closed as it was opened")]
    Group,
}

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'m> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 5.
    Fixed32(u32),
    /// Wire type 2.
    Bytes(&'m [u8]),
    /// Wire types 3 and 4, skipped whole.
    Group,
}

/// Reads fields one after the other.
pub(crate) struct Reader<'m> {
    rest: &'m [u8],
}

impl<'m> Reader<'m> {
    /// A reader of these bytes.
    pub(crate) const fn new(bytes: &'m [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field's number and value; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value<'m>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.key()?;
        let value = match wire_type {
            3 => {
                self.skip_group(number, 0)?;
                Value::Group
            }
            4 => return Err(WireError::Group),
            other => self.value(other)?,
        };
        Ok(Some((number, value)))
    }

    /// Whether nothing is left.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A field number and wire type.
    fn key(&mut self) -> Result<(u32, u64), WireError> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| WireError::FieldNumber)?;
        if number == 0 || number >= 1 << 29 {
            return Err(WireError::FieldNumber);
        }
        Ok((number, key & 7))
    }

    /// A variable-length integer.
    pub(crate) fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (index, byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { WireError::Truncated } else { WireError::Varint })
    }

    /// Eight bytes, little-endian.
    pub(crate) fn fixed64(&mut self) -> Result<u64, WireError> {
        let (head, rest) = self.rest.split_first_chunk::<8>().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*head))
    }

    /// Four bytes, little-endian.
    pub(crate) fn fixed32(&mut self) -> Result<u32, WireError> {
        let (head, rest) = self.rest.split_first_chunk::<4>().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*head))
    }

    /// A value that is not a group.
    fn value(&mut self, wire_type: u64) -> Result<Value<'m>, WireError> {
        Ok(match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.fixed64()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                let (head, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
                self.rest = rest;
                Value::Bytes(head)
            }
            5 => Value::Fixed32(self.fixed32()?),
            _ => return Err(WireError::WireType),
        })
    }

    /// Skips to the end of group `number`.
    fn skip_group(&mut self, number: u32, depth: u32) -> Result<(), WireError> {
        if depth > GROUP_DEPTH_MAX {
            return Err(WireError::Group);
        }
        loop {
            if self.rest.is_empty() {
                return Err(WireError::Group);
            }
            match self.key()? {
                (end, 4) => return if end == number { Ok(()) } else { Err(WireError::Group) },
                (inner, 3) => self.skip_group(inner, depth + 1)?,
                (_, wire_type) => {
                    self.value(wire_type)?;
                }
            }
        }
    }
}
