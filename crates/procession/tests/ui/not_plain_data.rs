use procession::Pool;

struct Row {
    name: String,
}

fn main() {
    let pool = Pool::new().unwrap();
    let _names = pool.share(&vec!["pear".to_owned(), "quince".to_owned()]);
    let _rows = pool.share(&[Row { name: "medlar".to_owned() }]);
}
