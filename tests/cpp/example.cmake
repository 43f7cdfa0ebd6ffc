# The door a C++ program uses: installs what was built, then builds examples/cpp against it and runs them.
file(REMOVE_RECURSE "${work}")
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE failed OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(failed)
    message(FATAL_ERROR "failed: ${ARGV}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

run("${CMAKE_COMMAND}" --install "${build}" --prefix "${work}/installed")
run("${CMAKE_COMMAND}" -S "${source}" -B "${work}/build" "-DCMAKE_PREFIX_PATH=${work}/installed"
    "-DCMAKE_CXX_COMPILER=${compiler}" -DCMAKE_BUILD_TYPE=Release)
run("${CMAKE_COMMAND}" --build "${work}/build")
run("${work}/build/circle")
message(STATUS "${output}")
string(REGEX MATCH "accuracy ([0-9.]+) %" found "${output}")
if(NOT CMAKE_MATCH_1 GREATER 97)
  message(FATAL_ERROR "expected an accuracy above 97 %, got\n${output}")
endif()

file(WRITE "${work}/rows" "0.5 -1\n2 3e-1\n")
execute_process(COMMAND "${work}/build/predict" "${model}" INPUT_FILE "${work}/rows" OUTPUT_VARIABLE output
                RESULT_VARIABLE failed)
set(number "0\\.[0-9]+ ")
if(failed OR NOT output MATCHES "^${number}${number}${number}\n${number}${number}${number}\n$")
  message(FATAL_ERROR "expected two rows of three probabilities, got\n${output}")
endif()
