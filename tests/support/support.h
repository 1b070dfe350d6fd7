// What many tests share: an expectation about an error's class and message.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "descent/error.h"

namespace descent::test {

// The message that calling `function` throws as an E, or what happened instead, in brackets.
template <class E, class F>
std::string message_of(F&& function) {
  try {
    function();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("[another class] ") + error.what();
  }
  return "[no error]";
}

}  // namespace descent::test

// The statement throws InvalidArgument with `text` in its message.
#define EXPECT_INVALID(statement, text) EXPECT_ERROR(descent::InvalidArgument, statement, text)
#define EXPECT_ERROR(type, statement, text)                                                                 \
  do {                                                                                                      \
    const std::string message = descent::test::message_of<type>([&] { static_cast<void>(statement); });     \
    EXPECT_NE(message.find(text), std::string::npos) << "message: " << message << "\nexpected: " << (text); \
  } while (false)
