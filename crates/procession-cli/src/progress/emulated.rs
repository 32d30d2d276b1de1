//! A terminal for tests: what it shows of what was written to it.

/// The rows that a terminal which knows our control sequences shows, without empty ones at the end, and where its cursor is.
pub(crate) fn shown(bytes: &str) -> (Vec<String>, (usize, usize)) {
    let (mut rows, mut row, mut column) = (vec![String::new()], 0_usize, 0_usize);
    let mut is_held = false;
    let mut rest = bytes;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '\r' => column = 0,
            '\n' => {
                // As terminals are set up, the line end takes the cursor to the left, too.
                (row, column) = (row + 1, 0);
                rows.resize(rows.len().max(row + 1), String::new());
            }
            '\x1b' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).expect("a sequence ends");
                let count = rest[2..end].parse::<usize>().unwrap_or(1);
                taken = end + 1;
                match &rest[end..=end] {
                    "A" => row = row.checked_sub(count).expect("it stays below what was there before"),
                    "B" => row += count,
                    "K" => rows[row].truncate(column),
                    "J" => {
                        rows[row].truncate(column);
                        rows.truncate(row + 1);
                    }
                    update @ ("h" | "l") => {
                        assert_eq!(&rest[..end], "\x1b[?2026", "{bytes:?}");
                        assert_eq!(is_held, update == "l", "updates begin and end in turn: {bytes:?}");
                        is_held = update == "h";
                    }
                    other => panic!("{other} is not one of ours"),
                }
                assert!(row < rows.len(), "the cursor is where nothing is: {bytes:?}");
            }
            c => {
                rows[row].truncate(column);
                rows[row].push(c);
                column = rows[row].len();
            }
        }
        rest = &rest[taken..];
    }
    assert!(!is_held, "an update does not end: {bytes:?}");
    rows.truncate(rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1));
    (rows, (row, column))
}
