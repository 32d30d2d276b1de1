//! What an item costs in the master and in the worker, step by step, without processes or system calls:
//! `cargo bench --package procession --features bench`.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use procession::bench::{
    FRAME_BYTES_MAX, decode, encode, put_results, put_work, read_results, read_work, reorder,
};

/// Items of a frame.
const ITEMS: u32 = 1_000;

fn main() {
    divan::main();
}

mod codec {
    use super::*;

    #[divan::bench]
    fn encode_i64(bencher: Bencher<'_, '_>) {
        let mut out = Vec::with_capacity(64);
        bencher.bench_local(|| {
            out.clear();
            encode(&divan::black_box((7_i64,)), &mut out);
        });
    }

    #[divan::bench]
    fn decode_i64(bencher: Bencher<'_, '_>) {
        let mut bytes = Vec::new();
        encode(&7_i64, &mut bytes);
        bencher.bench_local(|| decode::<i64>(divan::black_box(&bytes)));
    }

    #[divan::bench(args = [64, 64 * 1024])]
    fn encode_bytes(bencher: Bencher<'_, '_>, length: usize) {
        let value = vec![1_u8; length];
        let mut out = Vec::with_capacity(2 * length);
        bencher.counter(BytesCount::new(length)).bench_local(|| {
            out.clear();
            encode(divan::black_box(&value), &mut out);
        });
    }

    #[divan::bench(args = [64, 64 * 1024])]
    fn decode_bytes(bencher: Bencher<'_, '_>, length: usize) {
        let mut bytes = Vec::new();
        encode(&vec![1_u8; length], &mut bytes);
        bencher.counter(BytesCount::new(length)).bench_local(|| decode::<Vec<u8>>(divan::black_box(&bytes)));
    }

    #[divan::bench]
    fn encode_strings(bencher: Bencher<'_, '_>) {
        let value: Vec<String> = (0..100).map(|x| format!("a string, number {x}")).collect();
        let mut out = Vec::with_capacity(8 * 1024);
        bencher.counter(ItemsCount::new(value.len())).bench_local(|| {
            out.clear();
            encode(divan::black_box(&value), &mut out);
        });
    }

    #[divan::bench]
    fn decode_strings(bencher: Bencher<'_, '_>) {
        let value: Vec<String> = (0..100).map(|x| format!("a string, number {x}")).collect();
        let mut bytes = Vec::new();
        encode(&value, &mut bytes);
        bencher
            .counter(ItemsCount::new(value.len()))
            .bench_local(|| decode::<Vec<String>>(divan::black_box(&bytes)));
    }
}

mod frames {
    use super::*;

    #[divan::bench]
    fn build_work(bencher: Bencher<'_, '_>) {
        let mut out = Vec::with_capacity(FRAME_BYTES_MAX);
        bencher
            .counter(ItemsCount::new(ITEMS))
            .bench_local(|| put_work(&mut out, ITEMS, divan::black_box(&[7; 8])));
    }

    #[divan::bench]
    fn parse_work(bencher: Bencher<'_, '_>) {
        let mut frame = Vec::new();
        put_work(&mut frame, ITEMS, &[7; 8]);
        bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| read_work(divan::black_box(&frame)));
    }

    #[divan::bench]
    fn build_results(bencher: Bencher<'_, '_>) {
        let mut area = vec![0; FRAME_BYTES_MAX];
        bencher
            .counter(ItemsCount::new(ITEMS))
            .bench_local(|| put_results(&mut area, ITEMS, divan::black_box(&[7; 8])));
    }

    #[divan::bench]
    fn check_results(bencher: Bencher<'_, '_>) {
        let mut area = vec![0; FRAME_BYTES_MAX];
        let length = put_results(&mut area, ITEMS, &[7; 8]);
        area.truncate(length);
        bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| read_results(divan::black_box(&area)));
    }
}

mod order {
    use super::*;

    const BATCHES: u64 = 1_000;

    #[divan::bench]
    fn already_in_order(bencher: Bencher<'_, '_>) {
        let batches: Vec<u64> = (0..BATCHES).collect();
        run(bencher, &batches);
    }

    /// As from two workers of which one is a batch ahead.
    #[divan::bench]
    fn in_swapped_pairs(bencher: Bencher<'_, '_>) {
        let batches: Vec<u64> = (0..BATCHES).map(|batch| batch ^ 1).collect();
        run(bencher, &batches);
    }

    /// As behind one long item.
    #[divan::bench]
    fn first_comes_last(bencher: Bencher<'_, '_>) {
        let batches: Vec<u64> = (1..BATCHES).chain([0]).collect();
        run(bencher, &batches);
    }

    fn run(bencher: Bencher<'_, '_>, batches: &[u64]) {
        assert_eq!(reorder(batches, 64), batches.len());
        bencher
            .counter(ItemsCount::new(batches.len()))
            .bench_local(|| reorder(divan::black_box(batches), 64));
    }
}
