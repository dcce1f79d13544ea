//! The macro that makes methods of the table of them.

/// Makes the structs, [`Method`](super::Method), decoding, encoding and descriptions.
///
/// A method is written as `Name<'a> as VariantOfMethod = number, "name", Sender, has content, [answers] { arguments }`.
/// An argument is a name and a type of the wire (`bool` is a bit, `&str` a short and `&[u8]` a long string). A type in
/// brackets before an argument is a reserved one; those at the end come after a semicolon.
macro_rules! methods {
    (<$a:lifetime> $(
        $(#[$class_meta:meta])*
        class $class:ident = $class_id:literal {$(
            $(#[$meta:meta])*
            $name:ident $(<$lt:lifetime>)? as $variant:ident = $id:literal, $text:literal, $sender:ident,
                $content:literal, [$($answer:literal),*] {
                $($([$before:ty])* $(#[$field_meta:meta])* $field:ident: $type:ty,)*
                $(; $([$after:ty])+)?
            }
        )*}
    )*) => {
        $(
            $(#[$class_meta])*
            pub mod $class {
                #![allow(unused_imports, reason = "not every class has arguments, or tables among them")]

                use crate::error::{EncodeError, ErrorKind};
                use crate::field::Table;
                use crate::frame;
                use crate::method::{FieldInfo, MethodId, MethodInfo, Sender};
                use crate::wire::argument::Argument;
                use crate::wire::reader::Reader;
                use crate::wire::writer::Writer;

                $(
                    $(#[$meta])*
                    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
                    pub struct $name $(<$lt>)? {
                        $($(#[$field_meta])* pub $field: $type,)*
                    }

                    impl<$a> $name $(<$lt>)? {
                        /// Its numbers.
                        pub const ID: MethodId = MethodId { class: $class_id, method: $id };

                        /// What is known of it apart from its arguments.
                        pub const INFO: MethodInfo = MethodInfo {
                            id: Self::ID,
                            name: concat!(stringify!($class), ".", $text),
                            sender: Sender::$sender,
                            has_content: $content,
                            answers: &[$($answer),*],
                            is_answer: crate::method::id::named_as_answer($text),
                            fields: &[
                                $($(FieldInfo { name: None, kind: <$before as Argument<'_>>::KIND },)*
                                FieldInfo {
                                    name: Some(stringify!($field)),
                                    kind: <$type as Argument<'_>>::KIND,
                                },)*
                                $($(FieldInfo { name: None, kind: <$after as Argument<'_>>::KIND },)+)?
                            ],
                        };

                        /// Appends a frame with this method on `channel`.
                        ///
                        /// # Errors
                        /// When a string is too long for its length field; `out` is then as before.
                        #[inline]
                        pub fn write(&self, channel: u16, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                            frame::write_method(Self::ID, channel, out, |writer| self.write_arguments(writer))
                        }

                        #[inline]
                        pub(crate) fn read(reader: &mut Reader<$a>) -> Result<Self, ErrorKind> {
                            $(
                                $(<$before as Argument<'_>>::read(reader)?;)*
                                let $field = <$type as Argument<'_>>::read(reader)?;
                            )*
                            $($(<$after as Argument<'_>>::read(reader)?;)+)?
                            reader.finish()?;
                            Ok(Self { $($field),* })
                        }

                        #[inline]
                        fn write_arguments(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
                            $(
                                $(<$before as Argument<'_>>::write(Default::default(), writer)?;)*
                                <$type as Argument<'_>>::write(self.$field, writer)?;
                            )*
                            $($(<$after as Argument<'_>>::write(Default::default(), writer)?;)+)?
                            let _ = writer;
                            Ok(())
                        }
                    }

                    impl<$a> From<$name $(<$lt>)?> for crate::method::Method<$a> {
                        fn from(method: $name $(<$lt>)?) -> Self {
                            Self::$variant(method)
                        }
                    }
                )*
            }
        )*

        /// A method of any class.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Method<$a> {$($(
            #[doc = concat!("`", stringify!($class), ".", $text, "`")]
            $variant($class::$name $(<$lt>)?),
        )*)*}

        impl<$a> Method<$a> {
            /// Reads the arguments of the method with these numbers.
            #[inline]
            pub(crate) fn read(id: MethodId, reader: &mut Reader<$a>) -> Result<Self, ErrorKind> {
                match (id.class, id.method) {
                    $($(($class_id, $id) => $class::$name::read(reader).map(Self::$variant),)*)*
                    _ => Err(ErrorKind::UnknownMethod),
                }
            }

            /// What is known of the method apart from its arguments.
            pub const fn info(&self) -> &'static MethodInfo {
                match self {
                    $($(Self::$variant(_) => &$class::$name::INFO,)*)*
                }
            }

            /// Appends a frame with this method on `channel`.
            ///
            /// # Errors
            /// When a string is too long for its length field; `out` is then as before.
            #[inline]
            pub fn write(&self, channel: u16, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                match self {
                    $($(Self::$variant(method) => method.write(channel, out),)*)*
                }
            }
        }

        /// All methods, by class and number.
        pub static METHODS: &[&MethodInfo] = &[$($(&$class::$name::INFO,)*)*];

        pub(super) const fn info(class: u16, method: u16) -> Option<&'static MethodInfo> {
            match (class, method) {
                $($(($class_id, $id) => Some(&$class::$name::INFO),)*)*
                _ => None,
            }
        }
    };
}
