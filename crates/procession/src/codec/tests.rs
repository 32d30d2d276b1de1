//! What the codec promises: bytes in, bytes out, hostile lengths, limits.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

use super::*;

fn encoded<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out).expect("the value encodes");
    out
}

#[track_caller]
fn check_round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let bytes = encoded(&value);
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(&value));

    let mut longer = bytes.clone();
    longer.push(0);
    assert!(decode::<T>(&longer).is_err(), "{value:?} with a byte too many");
    for length in 0..bytes.len() {
        assert!(decode::<T>(&bytes[..length]).is_err(), "{value:?} cut to {length} bytes");
    }
}

#[track_caller]
fn check_refused<T: DeserializeOwned + Debug>(bytes: &[u8], expected: &str) {
    match decode::<T>(bytes) {
        Ok(value) => panic!("decoded to {value:?}"),
        Err(error) => assert_eq!(error.to_string(), format!("value cannot be decoded: {expected}")),
    }
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Shape {
    Point,
    Circle(f64),
    Box(u8, i16),
    Path { name: String, corners: Vec<(i32, i32)> },
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Scene {
    shapes: Vec<Shape>,
    by_name: BTreeMap<String, Option<char>>,
    unit: (),
    scale: f32,
}

/// Serde's way to `deserialize_byte_buf`.
#[derive(PartialEq, Debug)]
struct Buffer(Vec<u8>);

impl Serialize for Buffer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Buffer {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Buffer, D::Error> {
        struct OwnedOnly;
        impl serde::de::Visitor<'_> for OwnedOnly {
            type Value = Buffer;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a buffer")
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Buffer, E> {
                Ok(Buffer(bytes))
            }
        }
        from.deserialize_byte_buf(OwnedOnly)
    }
}

#[test]
fn values_of_every_kind_come_back() {
    check_round_trip(());
    check_round_trip(true);
    check_round_trip((i8::MIN, u16::MAX, i32::MIN, u64::MAX));
    check_round_trip((i128::MIN, u128::MAX));
    check_round_trip((f32::MIN_POSITIVE, f64::INFINITY));
    check_round_trip('ß');
    check_round_trip("Grüße".to_owned());
    check_round_trip(Some(Some(7_u8)));
    check_round_trip(None::<String>);
    check_round_trip(vec![Ok::<u8, String>(1), Err("no".to_owned())]);
    check_round_trip([1_u16, 2, 3]);
    check_round_trip(Buffer(vec![1, 2, 3]));
    check_round_trip(vec![Shape::Point, Shape::Circle(0.5), Shape::Box(1, -2)]);
    check_round_trip(Scene {
        shapes: vec![Shape::Path { name: "p".to_owned(), corners: vec![(1, 2), (3, 4)] }],
        by_name: [("a".to_owned(), Some('α')), (String::new(), None)].into(),
        unit: (),
        scale: 1.5,
    });
}

#[test]
fn integers_are_fixed_and_little_endian() {
    assert_eq!(encoded(&0x0102_0304_u32), [4, 3, 2, 1]);
    assert_eq!(encoded(&1_i64), [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(encoded("ab"), [2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']);
}

/// What lets `map` encode an item as it is, and arguments be joined one by one.
#[test]
fn a_tuple_is_its_parts_one_after_another() {
    assert_eq!(encoded(&("ab",)), encoded("ab"));
    assert_eq!(encoded(&(1_i64, "ab", 0.5)), [encoded(&1_i64), encoded("ab"), encoded(&0.5)].concat());
    assert!(encoded(&()).is_empty());
}

/// Byte vectors are copied as a whole, wherever they are; what is on the wire must not tell.
#[test]
fn byte_vectors_are_encoded_as_the_sequences_they_are() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Fields {
        name: String,
        bytes: Vec<u8>,
        maybe: Option<Vec<u8>>,
        many: Vec<Vec<u8>>,
        by_key: BTreeMap<Vec<u8>, Vec<u8>>,
        wrapped: Wrapper,
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Wrapper(Vec<u8>);
    let bytes: Vec<u8> = (0..=255).collect();
    let one_by_one = [256_u64.to_le_bytes().as_slice(), &bytes].concat();
    assert_eq!(encoded(&bytes), one_by_one);
    assert_eq!(encoded(&bytes[..]), one_by_one);
    assert_eq!(encoded(&bytes.iter().collect::<Vec<_>>()), one_by_one);
    assert_eq!(encoded(&(&bytes, 7_u32)), [one_by_one.as_slice(), &[7, 0, 0, 0]].concat());
    assert_eq!(encoded(&vec![bytes.clone()]), [1_u64.to_le_bytes().as_slice(), &one_by_one].concat());
    assert_eq!(decode::<Box<[u8]>>(&one_by_one).unwrap()[..], bytes[..]);
    check_round_trip((bytes.clone(), 7_u32));
    check_round_trip(Vec::<u8>::new());
    check_round_trip(Fields {
        name: "n".to_owned(),
        bytes: vec![1, 2],
        maybe: Some(vec![3]),
        many: vec![vec![], vec![4; 3]],
        by_key: [(vec![5], vec![6, 7])].into(),
        wrapped: Wrapper(vec![8]),
    });
    check_refused::<Vec<u8>>(&[3, 0, 0, 0, 0, 0, 0, 0, 1, 2], "the bytes end before the value does");
}

/// So are vectors of numbers on the way back.
#[test]
fn vectors_of_numbers_come_back() {
    check_round_trip((vec![i8::MIN, 5], vec![u16::MAX, 1], vec![i16::MIN], vec![u32::MAX]));
    check_round_trip((vec![i32::MIN], vec![u64::MAX, 2], vec![i64::MIN, 7], Vec::<f32>::new()));
    check_round_trip(vec![vec![0.5_f64, f64::MAX], vec![], vec![-0.0]]);
    let many: Vec<u64> = (0..1_000_000).collect();
    assert!(decode::<Vec<u64>>(&encoded(&many)) == Ok(many));
    assert_eq!(encoded(&vec![0x0102_u16, 3]), [2, 0, 0, 0, 0, 0, 0, 0, 2, 1, 3, 0]);
}

/// A field with its own way of decoding is not taken for a byte vector, though that is what comes out.
#[test]
fn a_custom_decoding_of_bytes_is_honoured() {
    fn one_more<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        Ok(vec![u8::deserialize(from)? + 1])
    }
    #[derive(Deserialize, PartialEq, Debug)]
    struct Odd {
        #[serde(deserialize_with = "one_more")]
        bytes: Vec<u8>,
    }
    assert_eq!(decode::<Odd>(&[4]), Ok(Odd { bytes: vec![5] }));
}

#[test]
fn bytes_left_over_are_refused() {
    check_refused::<u8>(&[1, 2, 3], "2 bytes are left over after the value");
    check_refused::<()>(&[0], "1 bytes are left over after the value");
}

#[test]
fn a_prefix_moves_on_only_if_it_decodes() {
    let mut rest: &[u8] = &[1, 2, 0, 3];
    assert_eq!(decode_prefix::<u8>(&mut rest), Ok(1));
    assert_eq!(decode_prefix::<u16>(&mut rest), Ok(2));
    assert!(decode_prefix::<u16>(&mut rest).is_err());
    assert_eq!(rest, [3]);
}

#[test]
fn hostile_lengths_allocate_nothing_and_end_at_once() {
    let started = Instant::now();
    for length in [u64::MAX, u64::from(u32::MAX), 1 << 40, 1 << 31] {
        let bytes = length.to_le_bytes();
        assert!(decode::<Vec<u64>>(&bytes).is_err(), "{length} numbers");
        assert!(decode::<Vec<Vec<String>>>(&bytes).is_err(), "{length} lists");
        assert!(decode::<String>(&bytes).is_err(), "{length} characters");
        assert!(decode::<Buffer>(&bytes).is_err(), "{length} bytes");
        assert!(decode::<Vec<u8>>(&bytes).is_err(), "{length} numbers of a byte");
        assert!(decode::<Vec<Vec<u8>>>(&bytes).is_err(), "{length} vectors of bytes");
        assert!(decode::<BTreeMap<u8, u8>>(&bytes).is_err(), "{length} entries");
    }
    check_refused::<Vec<()>>(
        &u64::MAX.to_le_bytes(),
        "it claims 18446744073709551615 elements, more than the limit of 4294967295",
    );
    check_refused::<String>(&(1_u64 << 31).to_le_bytes(), "the bytes end before the value does");
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
}

/// A size hint is what a careless `Deserialize` reserves.
#[test]
fn size_hints_stay_below_the_input() {
    struct Hint(Option<usize>);
    impl<'de> Deserialize<'de> for Hint {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Hint, D::Error> {
            struct Ask;
            impl<'de> serde::de::Visitor<'de> for Ask {
                type Value = Hint;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a sequence")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, elements: A) -> Result<Hint, A::Error> {
                    Ok(Hint(elements.size_hint()))
                }
            }
            from.deserialize_seq(Ask)
        }
    }
    let mut bytes = 1_000_000_u64.to_le_bytes().to_vec();
    assert_eq!(decode::<Hint>(&bytes).map(|hint| hint.0), Ok(Some(8)));
    bytes[..8].copy_from_slice(&2_u64.to_le_bytes());
    assert_eq!(decode::<Hint>(&bytes).map(|hint| hint.0), Ok(Some(2)));
}

#[test]
fn wrong_bytes_are_named() {
    check_refused::<u64>(&[1, 2, 3], "the bytes end before the value does");
    check_refused::<serde_json::Value>(
        &[1],
        "its type asks what the bytes contain (an untagged or flattened type), and this encoding cannot say",
    );
    assert!(decode::<bool>(&[2]).is_err());
    assert!(decode::<Shape>(&[9, 0, 0, 0]).is_err());
    assert!(decode::<String>(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff]).is_err());
}

/// Its first field encodes, its second does not.
struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = to.serialize_tuple(2)?;
        tuple.serialize_element(&1_u64)?;
        Err(S::Error::custom("not today"))
    }
}

#[test]
fn a_failed_encoding_leaves_nothing_behind() {
    let mut out = vec![1, 2, 3];
    let error = encode(&Refuses, &mut out).expect_err("it refuses");
    assert_eq!(error.to_string(), "value cannot be encoded: not today");
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn too_large_a_value_is_refused_while_it_is_written() {
    let mut out = vec![1, 2, 3];
    assert_eq!(encode_within("12345678", &mut Sink::new(&mut out), 16), Ok(()));
    out.truncate(3);
    let error =
        encode_within(&vec!["123456789"; 1000], &mut Sink::new(&mut out), 16).expect_err("it is too large");
    assert_eq!(error, CodecError::TooLarge { limit: 16 });
    assert_eq!(out, [1, 2, 3]);
    assert!(out.capacity() < 100, "{} bytes were reserved for a refused value", out.capacity());
}

#[test]
fn a_field_left_out_is_refused_and_named() {
    #[derive(serde::Serialize, serde::Deserialize, Default)]
    struct Probe {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        note: Option<u8>,
        kind: u8,
    }
    #[derive(serde::Serialize, serde::Deserialize)]
    enum Wrapped {
        Many(Vec<Option<(u8, Probe)>>),
        One {
            #[serde(skip_serializing_if = "Vec::is_empty", default)]
            values: Vec<u8>,
        },
    }
    let refusal = |result: Result<(), CodecError>| result.unwrap_err().to_string();
    let mut out = vec![1, 2];
    assert!(refusal(encode(&Probe::default(), &mut out)).contains("field `note` is skipped"));
    let many = Wrapped::Many(vec![None, Some((1, Probe::default()))]);
    assert!(refusal(encode(&many, &mut out)).contains("field `note` is skipped"));
    assert!(
        refusal(encode(&Wrapped::One { values: Vec::new() }, &mut out)).contains("field `values` is skipped")
    );
    assert_eq!(out, [1, 2]);
    encode(&(Probe { note: Some(7), kind: 3 }, Wrapped::One { values: vec![1] }), &mut out).unwrap();
    let (probe, _): (Probe, Wrapped) = decode(&out[2..]).unwrap();
    assert_eq!((probe.note, probe.kind), (Some(7), 3));
}

/// What serde would have written and read.
#[test]
fn numbers_are_encoded_as_serde_would() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Inside<T>(T);

    fn check<T: Serialize + DeserializeOwned + Copy + PartialEq + Debug>(numbers: [T; 3]) {
        let mut all = vec![numbers[0]];
        let mut bytes = vec![0xff];
        for number in numbers {
            check_round_trip(number);
            let expected = encoded(&Inside(number));
            assert_eq!(encoded(&number), expected);
            let (mut place, mut aside) = ([0; 16], vec![1]);
            let written = encode_into_room(&number, Room::new(&mut place, &mut aside)).unwrap();
            assert_eq!((&place[..written.len], written.is_aside), (&expected[..], false));
            let written = encode_into_room(&number, Room::new(&mut [], &mut aside)).unwrap();
            assert_eq!((aside.as_slice(), written.is_aside), (&expected[..], true));
            bytes.extend(expected);
        }
        // Behind a byte, so that they are not aligned.
        decode_many(size_of::<T>(), &bytes[1..], &mut all).unwrap();
        assert_eq!(all, [numbers[0], numbers[0], numbers[1], numbers[2]]);
        assert!(decode_many(size_of::<T>() + 1, &bytes[..size_of::<T>() + 1], &mut all).is_err());
        check_refused::<T>(&[], "the bytes end before the value does");
    }
    check([0_u8, 7, u8::MAX]);
    check([0_u16, 0x102, u16::MAX]);
    check([0_u32, 0x0102_0304, u32::MAX]);
    check([0_u64, 0x0102_0304_0506_0708, u64::MAX]);
    check([0_u128, 1 << 100, u128::MAX]);
    check([i8::MIN, -1, i8::MAX]);
    check([i16::MIN, -2, i16::MAX]);
    check([i32::MIN, -3, i32::MAX]);
    check([i64::MIN, -4, i64::MAX]);
    check([i128::MIN, -5, i128::MAX]);
    check([f32::MIN, -0.0, f32::INFINITY]);
    check([f64::MIN_POSITIVE, 0.1, f64::NEG_INFINITY]);
    check([usize::MIN, 5, usize::MAX]);
}

/// A type that contains itself.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
enum Chain {
    End,
    Link(Box<Chain>),
}

/// Where the stack ends, so does the process, and with the master's all calls.
#[test]
fn no_bytes_are_nested_deeper_than_a_stack_can_hold() {
    let chain = |links: usize| {
        let mut bytes = encoded(&1_u32).repeat(links);
        bytes.extend(encoded(&0_u32));
        bytes
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        let deepest = decode::<Chain>(&chain(499)).expect("it is as deep as it may be");
        assert_eq!(encoded(&deepest), chain(499));
        for links in [500, 501, 1_000_000] {
            check_refused::<Chain>(&chain(links), "its parts are nested more than 500 deep");
        }
    });
    thread.expect("a thread can be started").join().expect("it does not panic");
}
