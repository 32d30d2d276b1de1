//! The words in an attribute's parentheses.

use proc_macro2::TokenStream;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{Path, Result, parse_quote};

pub(crate) struct TaskOptions {
    pub(crate) idempotent: bool,
    /// Where the `procession` crate is.
    pub(crate) procession: Path,
}

impl TaskOptions {
    pub(crate) fn parse(tokens: TokenStream) -> Result<TaskOptions> {
        let mut idempotent = false;
        let mut procession = None;
        let parser = syn::meta::parser(|option| {
            if option.path.is_ident("idempotent") {
                if idempotent {
                    return Err(option.error("option `idempotent` is given twice"));
                }
                idempotent = true;
                Ok(())
            } else if option.path.is_ident("crate") {
                parse_crate(&option, &mut procession)
            } else {
                Err(option.error("unknown option: `#[task]` knows `idempotent` and `crate = path`"))
            }
        });
        parser.parse2(tokens)?;
        Ok(TaskOptions { idempotent, procession: procession.unwrap_or_else(default_crate) })
    }
}

/// `#[procession::main]` knows only where the crate is.
pub(crate) fn parse_main(tokens: TokenStream) -> Result<Path> {
    let mut procession = None;
    let parser = syn::meta::parser(|option| {
        if option.path.is_ident("crate") {
            parse_crate(&option, &mut procession)
        } else {
            Err(option.error("unknown option: `#[procession::main]` knows `crate = path`"))
        }
    });
    parser.parse2(tokens)?;
    Ok(procession.unwrap_or_else(default_crate))
}

fn parse_crate(option: &ParseNestedMeta<'_>, procession: &mut Option<Path>) -> Result<()> {
    let value = option.value().map_err(|_| option.error("option `crate` needs a path: `crate = path`"))?;
    let path = value.call(Path::parse_mod_style)?;
    match procession.replace(path) {
        None => Ok(()),
        Some(_) => Err(option.error("option `crate` is given twice")),
    }
}

fn default_crate() -> Path {
    parse_quote!(::procession)
}
