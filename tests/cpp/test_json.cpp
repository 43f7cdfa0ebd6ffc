// What a file's bytes mean before anything is known of models: JSON, SHA-256.

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

#include "files/json.hpp"
#include "files/sha256.hpp"

namespace densegrad {
namespace {

TEST_CASE("JSON is read as RFC 8259 has it, members in their order") {
  const Json value = Json::parse(" {\"b\": [1, -2.5e+3, true, null], \"a\" : {}, \"\": [ ] }\n");
  CHECK(value.is(Json::Kind::object));
  CHECK(value.names() == std::vector<std::string>{"b", "a", ""});
  const Json& list = *value.find("b");
  REQUIRE(list.items().size() == 4);
  CHECK(list.items()[0].is(Json::Kind::number));
  CHECK(list.items()[1].text() == "-2.5e+3");
  CHECK(list.items()[2].is(Json::Kind::boolean));
  CHECK(list.items()[2].text() == "true");
  CHECK(list.items()[3].is(Json::Kind::null));
  CHECK(value.find("a")->items().empty());
  CHECK(value.find("")->is(Json::Kind::array));
  CHECK(value.find("c") == nullptr);
}

TEST_CASE("numbers are kept as they are written") {
  for (const std::string text : {"0", "-0", "10", "0.5", "1e9", "1E-05", "-1.25e+300", "340282366920938463463374607",
                                 "NaN", "Infinity", "-Infinity"}) {
    CAPTURE(text);
    CHECK(Json::parse(text).is(Json::Kind::number));
    CHECK(Json::parse(text).text() == text);
  }
}

TEST_CASE("strings are UTF-8 once their escapes are undone") {
  CHECK(Json::parse(R"("a\"\\\/\b\f\n\r\tz")").text() == "a\"\\/\b\f\n\r\tz");
  CHECK(Json::parse(R"("\u0041\u00fc\u20AC\ud83D\uDe00")").text() == "A\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80");
  const std::string plain = "\xC3\xBC \xF0\x9F\x98\x80 \xF4\x8F\xBF\xBF \xED\x9F\xBF";
  CHECK(Json::parse("\"" + plain + "\"").text() == plain);
  CHECK(Json::parse(R"("\u0000")").text() == std::string(1, '\0'));
}

TEST_CASE("a text that is no JSON is refused") {
  for (const std::string text : {"",
                                 " ",
                                 "{",
                                 "}",
                                 "[",
                                 "]",
                                 "[1",
                                 "[1,",
                                 "[1,]",
                                 "[1 2]",
                                 "{\"a\"}",
                                 "{\"a\":}",
                                 "{\"a\":1,}",
                                 "{a:1}",
                                 "{1:1}",
                                 "{\"a\" 1}",
                                 "nul",
                                 "nullx",
                                 "True",
                                 "truth",
                                 "01",
                                 "-",
                                 "1.",
                                 ".5",
                                 "+1",
                                 "1e",
                                 "1e+",
                                 "0x1",
                                 "--1",
                                 "-NaN",
                                 "inf",
                                 "nan",
                                 "1 1",
                                 "\"",
                                 "\"a",
                                 "\"\\",
                                 "\"\\u12",
                                 "\"\\u12g4\"",
                                 "\"\\x41\"",
                                 "'a'",
                                 "\"\n\"",
                                 "\"\t\"",
                                 "\"\\ud800\"",
                                 "\"\\ud800\\u0041\"",
                                 "\"\\udc00\"",
                                 "\"\\ud800x\"",
                                 "// a\n1",
                                 "[1]]",
                                 "\xEF\xBB\xBF"
                                 "1"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(Json::parse(text), std::invalid_argument);
  }
  for (const std::string bytes : {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80",
                                  "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xE2\x82"}) {
    CAPTURE(bytes.size());
    CHECK_THROWS_AS(Json::parse("\"" + bytes + "\""), std::invalid_argument);
  }
  CHECK_THROWS_AS(Json::parse(std::string("\"\0\"", 3)), std::invalid_argument);
  CHECK_THROWS_AS(Json::parse(std::string("1\0", 2)), std::invalid_argument);
}

TEST_CASE("members of one name are refused, however the name is written") {
  CHECK_THROWS_WITH_AS(Json::parse(R"({"a": 1, "b": 2, "\u0061": 3})"),
                       "JSON: expected each name once, got 'a' twice before the end at byte 29", std::invalid_argument);
}

TEST_CASE("values nested deeper than any model are refused, and those as deep as a model may be are not") {
  const auto nested = [](int depth) {
    return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
  };
  CHECK(Json::parse(nested(501)).is(Json::Kind::array));
  CHECK_THROWS_AS(Json::parse(nested(502)), std::invalid_argument);
  CHECK_THROWS_AS(Json::parse(std::string(10'000'000, '[')), std::invalid_argument);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  CHECK_THROWS_AS(Json::parse(objects), std::invalid_argument);
}

TEST_CASE("more values than any model has are refused") {
  std::string text = "[";
  for (int i = 0; i < 5'000'000; ++i) text += "0,";
  CHECK_THROWS_WITH_AS(Json::parse(text + "0]"), "JSON: expected at most 5000000 values at byte 9999999",
                       std::invalid_argument);
}

// FIPS 180-4's examples as NIST publishes them, and a million letters from the same place.
TEST_CASE("SHA-256 gives the published digests") {
  const auto digest = [](const std::string& text) {
    Sha256 sha;
    sha.update(text);
    return sha.hex();
  };
  CHECK(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(digest(
            "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstno"
            "pqrstu") == "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
  CHECK(digest(std::string(1'000'000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("a digest does not depend on how its bytes come in pieces") {
  for (std::size_t size = 0; size < 200; ++size) {
    const std::string text(size, 'x');
    Sha256 whole, pieces;
    whole.update(text);
    for (std::size_t at = 0, step = 1; at < size; at += step, step = step % 7 + 1) pieces.update(text.substr(at, step));
    CHECK(whole.hex() == pieces.hex());
  }
}

}  // namespace
}  // namespace densegrad
