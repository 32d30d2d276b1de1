//! Cutting data into as many parts as there are workers.

/// Cuts `data` into exactly `slices` parts, in order. Sizes differ by at most 1, longer parts first.
///
/// With fewer items than slices, the last parts are empty.
///
/// ```
/// use procession::slice_data;
///
/// assert_eq!(slice_data(0..8, 3), [vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]]);
/// assert_eq!(slice_data("ab".chars(), 3), [vec!['a'], vec!['b'], vec![]]);
/// ```
///
/// # Panics
/// If `slices` is 0: there is then no place for the data.
pub fn slice_data<T>(data: impl IntoIterator<Item = T>, slices: usize) -> Vec<Vec<T>> {
    assert!(slices > 0, "data cannot be cut into 0 slices: ask for at least 1");
    let data: Vec<T> = data.into_iter().collect();
    let (size, longer) = (data.len() / slices, data.len() % slices);
    let mut data = data.into_iter();
    (0..slices).map(|slice| data.by_ref().take(size + usize::from(slice < longer)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_one_slice_and_sizes_differ_by_at_most_one() {
        for items in 0..20 {
            for slices in 1..25 {
                let parts = slice_data(0..items, slices);
                assert_eq!(parts.len(), slices);
                assert!(
                    parts.concat().into_iter().eq(0..items),
                    "{items} items in {slices} slices: {parts:?}"
                );
                let sizes: Vec<usize> = parts.iter().map(Vec::len).collect();
                assert!(sizes.is_sorted_by(|longer, shorter| longer >= shorter), "{sizes:?}");
                assert!(sizes[0] - sizes[slices - 1] <= 1, "{sizes:?}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "data cannot be cut into 0 slices")]
    fn no_slices_are_refused() {
        slice_data(0..3, 0);
    }
}
