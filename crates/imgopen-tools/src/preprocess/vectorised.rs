//! Compiles loops over pixels for the vector instructions of the machine.

/// `vectorised!(name = plain(argument: Type, …))` defines a function that calls `plain`, compiled for these instructions.
///
/// `plain` and all that it calls must be `#[inline(always)]`: only inlined code is compiled for them. A large closure would
/// not be inlined. References have the lifetime `'a`.
macro_rules! vectorised {
    ($visible:vis $name:ident = $plain:ident($($argument:ident: $kind:ty),+ $(,)?)) => {
        $visible fn $name<'a>($($argument: $kind),+) {
            struct Work<'a> {
                $($argument: $kind),+
            }

            impl pulp::NullaryFnOnce for Work<'_> {
                type Output = ();

                #[inline(always)]
                fn call(self) {
                    $plain($(self.$argument),+);
                }
            }

            pulp::Arch::new().dispatch(Work { $($argument),+ });
        }
    };
}
