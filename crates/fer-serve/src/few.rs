//! Arrays of untrusted JSON, bounded while they are read: a few bytes of text can be an element of
//! many bytes in memory.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// An array of at most `N` elements.
#[derive(Debug)]
pub(crate) struct Few<T, const N: usize>(pub(crate) Vec<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_seq(Read::<T, N>(PhantomData))
            .map(Self)
    }
}

struct Read<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Read<T, N> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {N} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<T>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = array.next_element()? {
            if elements.len() == N {
                return Err(A::Error::invalid_length(N + 1, &self));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_has_at_most_so_many_elements() {
        let read = |text: &str| serde_json::from_str::<Few<u8, 3>>(text);
        assert!(read("[]").unwrap().0.is_empty());
        assert_eq!(read("[1, 2, 3]").unwrap().0, [1, 2, 3]);
        let long = read("[1, 2, 3, 4]").unwrap_err().to_string();
        assert!(long.contains("at most 3 elements"), "{long}");
        assert!(read("7").is_err());
    }
}
