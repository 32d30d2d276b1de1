//! Any bytes as values of several types. What is decoded takes memory in proportion to the bytes that are there, and
//! encodes to the same bytes.

use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};

#[derive(Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Box(u8, i16),
    Path { name: String, corners: Vec<(i32, i32)> },
}

/// As deep as the bytes say.
#[derive(Serialize, Deserialize)]
enum Tree {
    Leaf(u8),
    Node(Vec<Tree>),
    Chain(Box<Tree>),
}

#[derive(Serialize, Deserialize)]
struct Scene {
    shapes: Vec<Shape>,
    tag: Option<char>,
    unit: (),
    scale: f32,
}

pub(super) fn check(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 16 {
        0 => same::<i64>(bytes),
        1 => same::<(i64, String)>(bytes),
        2 => same::<Option<Box<(u8, char)>>>(bytes),
        3 => same::<Result<bool, String>>(bytes),
        4 => vector::<u8>(bytes),
        5 => vector::<i64>(bytes),
        6 => vector::<String>(bytes),
        7 => vector::<Vec<u16>>(bytes),
        8 => vector::<Shape>(bytes),
        9 => same::<Scene>(bytes),
        10 => same::<Tree>(bytes),
        11 => same::<([u16; 3], u128)>(bytes),
        // Keys may come twice, and in any order.
        12 => drop(decode::<HashMap<u8, Vec<u8>>>(bytes)),
        13 => drop(decode::<BTreeMap<String, Option<i8>>>(bytes)),
        14 => many::<i64>(bytes),
        _ => many::<(u8, Option<u8>)>(bytes),
    }
}

/// Decodes the value that fills the bytes, and the one in front of any others.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut rest = bytes;
    let front = codec::decode_prefix::<T>(&mut rest);
    let whole = codec::decode::<T>(bytes);
    assert_eq!(whole.is_ok(), front.is_ok() && rest.is_empty());
    if front.is_err() {
        assert_eq!(rest, bytes, "a failure takes nothing");
    }
    whole
}

fn same<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(value) = decode::<T>(bytes) {
        let mut again = b"before".to_vec();
        codec::encode(&value, &mut again).expect("what was decoded can be encoded");
        assert_eq!(again[6..], *bytes, "a value encodes to other bytes than it was decoded from");
    }
}

fn vector<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    if let Ok(value) = decode::<Vec<T>>(bytes) {
        let taken = value.capacity() * size_of::<T>();
        assert!(taken <= 2 * size_of::<T>() * (bytes.len() + 8), "{taken} bytes for {} bytes", bytes.len());
    }
    same::<Vec<T>>(bytes);
}

/// As values of one length each, as in a frame of results.
fn many<T: DeserializeOwned>(bytes: &[u8]) {
    let Some((each, bytes)) = bytes.split_first() else { return };
    let each = usize::from(*each % 32) + 1;
    let bytes = &bytes[..bytes.len() / each * each];
    let mut values = Vec::<T>::new();
    let decoded = codec::decode_many(each, bytes, &mut values);
    let alone = bytes.chunks(each).map(codec::decode::<T>).take_while(Result::is_ok).count();
    assert_eq!((values.len(), decoded.is_ok()), (alone, alone == bytes.len() / each));
}
