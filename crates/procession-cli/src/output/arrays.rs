//! Values of one shape as an Arrow array, with nulls where there is none.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, StringArray, StructArray, UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use serde_json::Value;

use super::shape::Shape;

/// Marks a column of text as JSON: one of the extension types that Arrow itself defines.
const JSON: [(&str, &str); 2] = [("ARROW:extension:name", "arrow.json"), ("ARROW:extension:metadata", "")];

/// A column of that name. Whatever it is, it may be null.
pub(super) fn field(name: &str, shape: &Shape) -> Field {
    let data_type = match shape {
        Shape::Bool => DataType::Boolean,
        Shape::Natural | Shape::Int => DataType::Int64,
        Shape::UInt => DataType::UInt64,
        Shape::Float => DataType::Float64,
        Shape::List(element) => DataType::List(Arc::new(field("item", element))),
        Shape::Fields(columns) => DataType::Struct(fields(columns)),
        Shape::Text | Shape::Json | Shape::Unknown => DataType::Utf8,
    };
    let field = Field::new(name, data_type, true);
    if *shape == Shape::Json {
        let marks = JSON.map(|(key, value)| (key.to_owned(), value.to_owned()));
        return field.with_metadata(HashMap::from(marks));
    }
    field
}

pub(super) fn fields(columns: &[(String, Shape)]) -> Fields {
    columns.iter().map(|(name, shape)| field(name, shape)).collect()
}

/// The values as a column. None of them is one that the shape [refuses](Shape::refuse).
pub(super) fn array(shape: &Shape, values: &[Option<&Value>]) -> ArrayRef {
    let present = values.iter().map(|value| value.filter(|value| !value.is_null()));
    match shape {
        Shape::Bool => Arc::new(present.map(|value| value?.as_bool()).collect::<BooleanArray>()),
        Shape::Natural | Shape::Int => Arc::new(present.map(|value| value?.as_i64()).collect::<Int64Array>()),
        Shape::UInt => Arc::new(present.map(|value| value?.as_u64()).collect::<UInt64Array>()),
        Shape::Float => Arc::new(present.map(|value| value?.as_f64()).collect::<Float64Array>()),
        Shape::Text => Arc::new(present.map(|value| value?.as_str()).collect::<StringArray>()),
        Shape::Json | Shape::Unknown => {
            Arc::new(present.map(|value| Some(value?.to_string())).collect::<StringArray>())
        }
        Shape::List(element) => list(element, present.map(|value| value?.as_array())),
        Shape::Fields(columns) => {
            let objects: Vec<_> = present.map(|value| value?.as_object()).collect();
            let column = |(name, shape): &(String, Shape)| {
                let values: Vec<_> = objects.iter().map(|object| object.as_ref()?.get(name)).collect();
                array(shape, &values)
            };
            let nulls = NullBuffer::from_iter(objects.iter().map(Option::is_some));
            let arrays = columns.iter().map(column).collect();
            Arc::new(StructArray::new(fields(columns), arrays, Some(nulls)))
        }
    }
}

fn list<'a>(element: &Shape, lists: impl Iterator<Item = Option<&'a Vec<Value>>> + Clone) -> ArrayRef {
    let lengths = OffsetBuffer::from_lengths(lists.clone().map(|list| list.map_or(0, Vec::len)));
    let nulls = NullBuffer::from_iter(lists.clone().map(|list| list.is_some()));
    let elements: Vec<_> = lists.flatten().flatten().map(Some).collect();
    let item: FieldRef = Arc::new(field("item", element));
    Arc::new(ListArray::new(item, lengths, array(element, &elements), Some(nulls)))
}
