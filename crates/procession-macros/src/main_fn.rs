//! `#[procession::main]`: one statement at the head of `main`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, Result, parse_quote};

use crate::options;

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let procession = options::parse_main(options)?;
    let Ok(mut main) = syn::parse2::<ItemFn>(item.clone()) else {
        return Err(Error::new_spanned(item, "`#[procession::main]` goes on `fn main`"));
    };
    if let Err(error) = check(&main) {
        // A `main` of some kind, so that the compiler does not also complain that there is none.
        let error = error.into_compile_error();
        return Ok(quote!(#error fn main() {}));
    }
    main.block.stmts.insert(0, parse_quote!(#procession::init();));
    Ok(quote!(#main))
}

fn check(main: &ItemFn) -> Result<()> {
    let signature = &main.sig;
    if let Some(token) = &signature.asyncness {
        return Err(Error::new_spanned(
            token,
            "`#[procession::main]` must run before a runtime starts threads: \
             write the runtime's attribute above it, or start the runtime inside a plain `fn main`",
        ));
    }
    if !signature.inputs.is_empty() {
        return Err(Error::new_spanned(
            &signature.inputs,
            "`main` takes no arguments: read `std::env::args()`",
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(&signature.generics, "`main` cannot be generic"));
    }
    if signature.ident != "main" {
        return Err(Error::new(
            signature.ident.span(),
            "`#[procession::main]` goes on `fn main`: elsewhere call `procession::init()`",
        ));
    }
    Ok(())
}
