//! Stable codes: kebab-case texts that programs and alerts may rely on.

/// Declares an enum of codes with their texts, so that none can be without one.
macro_rules! codes {
    ($(#[$enum_doc:meta])* $name:ident {
        $($(#[$doc:meta])* $variant:ident => $text:literal,)+
        $(@inner $(#[$inner_doc:meta])* $inner:ident($type:ty),)?
    }) => {
        $(#[$enum_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            $($(#[$inner_doc])* $inner($type),)?
        }

        impl $name {
            /// Every code declared here.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as programs and people see it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                    $(Self::$inner(code) => code.as_str(),)?
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use codes;
