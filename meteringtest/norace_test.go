//go:build !race

package meteringtest_test

const raceDetector = false
