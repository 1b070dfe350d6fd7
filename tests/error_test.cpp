// Error messages: one line, bounded, with nothing unprintable; and the classes that callers tell apart.
#include "descent/error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace descent {
namespace {

TEST(ErrorText, IsOneLine) { EXPECT_STREQ(InvalidArgument("a\nb\tc\x7f").what(), "a b c "); }

TEST(ErrorText, HasAtMost400Characters) {
  const std::string text = FormatError(std::string(1000, 'x')).what();
  EXPECT_EQ(text.size(), 400U);
  EXPECT_EQ(text.substr(396), "x...");
  EXPECT_EQ(std::string(FormatError(std::string(400, 'x')).what()), std::string(400, 'x'));
}

TEST(ErrorText, IsNeverCutInsideACharacter) {
  std::string text(395, 'x');
  for (int i = 0; i < 10; ++i) text += "\xE2\x82\xAC";  // three bytes each
  const std::string cut = FormatError(text).what();
  EXPECT_LE(cut.size(), 400U);
  EXPECT_EQ(cut, std::string(395, 'x') + "...");
}

TEST(ErrorText, IoErrorNamesPathOperationAndReason) {
  EXPECT_STREQ(IoError("/tmp/a\nb", "open", ENOENT).what(), "/tmp/a\\x0ab: open: No such file or directory");
}

TEST(ErrorText, OutOfMemoryNamesBytes) {
  const OutOfMemory error("tensor [4]", 16, 8);
  EXPECT_STREQ(error.what(), "tensor [4]: out of memory: 16 bytes wanted, 8 bytes free");
  EXPECT_EQ(error.bytes_wanted(), 16U);
}

TEST(Escape, ReplacesWhatIsNotPlain) {
  EXPECT_EQ(escape("abc 123"), "abc 123");
  EXPECT_EQ(escape(std::string_view("\0\n\"'\\\x80\xff", 7)), "\\x00\\x0a\\x22\\x27\\x5c\\x80\\xff");
}

TEST(Escape, CutsWholeEscapes) {
  EXPECT_EQ(escape("abcdef", 3), "abc...");
  EXPECT_EQ(escape("ab\n", 5), "ab...");
  EXPECT_EQ(escape("ab\n", 6), "ab\\x0a");
  EXPECT_EQ(escape("abc", 3), "abc");
}

TEST(ErrorClasses, AllAreErrors) {
  EXPECT_THROW(throw IoError("x", "read", EIO), Error);
  EXPECT_THROW(throw FormatError("x"), Error);
  EXPECT_THROW(throw DeviceError("x"), Error);
  EXPECT_THROW(throw NumericalError("x"), Error);
  EXPECT_THROW(throw OutOfMemory("x", 1, 0), Error);
}

}  // namespace
}  // namespace descent
