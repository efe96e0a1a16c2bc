package meteringtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rules are what is known of the service, each with the tests that hold the
// simulated one to it: a function, or one of the cases that it names.
var rules = []struct {
	section string
	rule    string
	tests   string
}{
	{"wire", "POST /, application/x-amz-json-1.1, X-Amz-Target; anything else is UnknownOperationException", "TestProtocol"},
	{"wire", "SigV4 with the service aws-marketplace and the service's Region", "TestSigV4/wrong Region, TestSigV4/wrong service, TestSigV4KnownAnswer"},
	{"wire", "a wrong secret, a changed body or header, an unsigned header, a stale date are refused", "TestSigV4"},
	{"wire", "timestamps are epoch seconds, fractions allowed, in both directions", "TestBatchMeterUsage, TestPublicKeyRotation, TestProtocol/milliseconds"},
	{"wire", "AllocatedUsageQuantity is required, also when it is 0", "TestBatchValidation/allocation's quantity, TestBatchMeterUsage"},
	{"wire", "absent members are left out of answers", "TestBatchMeterUsage, TestResolveCustomer"},
	{"wire", "wrong JSON and wrong types are SerializationException", "TestProtocol, TestMeterUsageValidation, TestRegisterUsageRefusals"},
	{"wire", "the constraints of the model are ValidationException, all named at once", "TestBatchValidation, TestMeterUsageValidation, TestValidationNamesEveryViolation"},
	{"wire", "errors: name under __type with its namespace, message, X-Amzn-RequestId", "TestModelledErrors, TestProtocol"},
	{"wire", "400, but 500 for InternalServiceErrorException and 409 for IdempotencyConflictException", "TestModelledErrors, TestFailNext"},
	{"wire", "expired credentials are ExpiredTokenException of com.amazon.coral.service", "TestSigV4/expired credentials, TestClientSeesCauses"},
	{"wire", "a proxy answers with HTML, with no body, or with a body cut short", "TestFaultAnswers/page, TestFaultAnswers/status, TestFaultAnswers/cut"},
	{"wire", "unknown members are ignored", "TestProtocol/unknown members, TestBatchMeterUsage"},

	{"who calls", "an operation that the Region does not have is DisabledApiException", "TestModelledErrors/DisabledApiException, TestErrorsOfOtherOperations/disabled"},
	{"who calls", "MeterUsage from another Region is InvalidEndpointRegionException", "TestModelledErrors/InvalidEndpointRegionException, TestErrorsOfOtherOperations/Region"},
	{"who calls", "RegisterUsage from another Region is InvalidRegionException", "TestModelledErrors/InvalidRegionException"},
	{"who calls", "a role without permission (node role, Pod Identity, policy) is refused", "TestErrorsOfOtherOperations/permission"},
	{"who calls", "10, 10 and 5 requests a second for an account", "TestQuotas, TestQuotasCount"},

	{"BatchMeterUsage", "at most 25 records", "TestBatchValidation/26 records"},
	{"BatchMeterUsage", "less than 1 MB: 1,000,000 bytes, or another reading by option", "TestProtocol/just under 1 MB, TestProtocol/1 MB, TestProtocol/far over 1 MiB, TestMaxBatchBytes"},
	{"BatchMeterUsage", "one record for a product, customer, dimension and hour; the first one wins; no sums", "TestBatchOneRecordAnHour, TestBatchSameHourWithinARequest, TestThousandClients"},
	{"BatchMeterUsage", "sent again unchanged: Success or DuplicateRecord by option, never a second charge", "TestBatchOneRecordAnHour/identical is Success, TestBatchOneRecordAnHour/identical is Duplicate"},
	{"BatchMeterUsage", "another quantity is DuplicateRecord and not billed", "TestBatchOneRecordAnHour, TestRefused"},
	{"BatchMeterUsage", "with concurrent agreements the licence is part of the key", "TestBatchWithLicences"},
	{"BatchMeterUsage", "concurrent agreements: CustomerAWSAccountId and LicenseArn, no ProductCode", "TestBatchRefusesProductsAndLicences/product and licence, TestBatchRefusesProductsAndLicences/product that needs licences, TestBatchRefusesProductsAndLicences/licence without account"},
	{"BatchMeterUsage", "older products: ProductCode, and CustomerIdentifier or CustomerAWSAccountId, not both kinds", "TestBatchRefusesWholeRequest/mixed identifiers, TestBatchRefusesWholeRequest/no customer"},
	{"BatchMeterUsage", "licences of two products are InvalidLicenseException", "TestBatchRefusesProductsAndLicences/licences of two products"},
	{"BatchMeterUsage", "one bad record keeps the good ones from being metered", "TestBatchRefusesWholeRequest"},
	{"BatchMeterUsage", "statuses: Success, CustomerNotSubscribed, DuplicateRecord, no other", "TestCustomerNotSubscribed, TestBatchOneRecordAnHour"},
	{"BatchMeterUsage", "UnprocessedRecords are not billed and can be sent again", "TestFaultOmitsAndLeavesUnprocessed"},
	{"BatchMeterUsage", "24 hours after the event", "TestBatchTimestamps/24 hours ago, TestBatchTimestamps/a second more"},
	{"BatchMeterUsage", "last month until 06:00 UTC on the 1st, whatever the age", "TestBatchTimestamps/last month before 06:00, TestBatchTimestamps/last month at 06:00, TestBatchTimestamps/last month, but too long ago"},
	{"BatchMeterUsage", "timestamps ahead: tolerance by option", "TestMaxAhead, TestBatchTimestamps/further ahead"},
	{"BatchMeterUsage", "quantity 0 is a record", "TestBatchZeroQuantity"},
	{"BatchMeterUsage", "a report of the running hour closes it", "TestBatchOneRecordAnHour/identical is Success"},
	{"BatchMeterUsage", "unknown dimensions are InvalidUsageDimensionException", "TestModelledErrors/InvalidUsageDimensionException, TestBatchRefusesWholeRequest/dimension"},

	{"allocations", "1 to 2,500 a record", "TestBatchValidation/empty allocations, TestBatchValidation/2,501 allocations, TestBatchValidation/as much as the model allows"},
	{"allocations", "tag sets unique within a record", "TestBatchRefusesWholeRequest/same tags twice, TestBatchRefusesWholeRequest/no tags twice"},
	{"allocations", "quantities sum to the record's", "TestBatchRefusesWholeRequest/sum too small, TestBatchRefusesWholeRequest/sum too large, TestBatchRefusesWholeRequest/sum over 32 bits"},
	{"allocations", "at most 5 tags, keys of 1 to 100, values of 0 to 256 characters", "TestBatchRefusesWholeRequest/six tags, TestBatchRefusesWholeRequest/empty tag key, TestBatchRefusesWholeRequest/long tag key, TestBatchRefusesWholeRequest/long tag value"},
	{"allocations", "the pattern of tags read as a pattern: ' -=' is a range", "TestBatchRefusesWholeRequest/tag key character, TestBatchValidation/as much as the model allows"},

	{"MeterUsage", "timestamps are rounded down to the hour", "TestMeterUsageOneRecordAnHour"},
	{"MeterUsage", "one record for a dimension and hour from each instance, task or pod", "TestMeterUsagePerCaller"},
	{"MeterUsage", "the same call returns the same id; another quantity is DuplicateRequestException", "TestMeterUsageOneRecordAnHour"},
	{"MeterUsage", "6 hours after the event", "TestMeterUsageRefusals/too old"},
	{"MeterUsage", "on AgentCore the records of an hour are summed, told apart by ClientToken", "TestAgentCore"},
	{"MeterUsage", "a ClientToken of 1 to 64 characters; with other parameters IdempotencyConflictException", "TestMeterUsageClientToken, TestMeterUsageValidation/long token"},
	{"MeterUsage", "DryRun: DryRunOperation is success, UnauthorizedException no permission", "TestMeterUsageDryRun, TestErrorsOfOtherOperations/permission"},

	{"RegisterUsage", "a JWT: PS256, productCode, publicKeyVersion, nonce, iat; no exp, no kid", "TestRegisterUsage"},
	{"RegisterUsage", "RSA of 3072 bits in PEM (PKIX), by version", "TestRegisterUsage, TestPublicKeyRotation"},
	{"RegisterUsage", "PublicKeyRotationTimestamp only for a version that has expired", "TestPublicKeyRotation"},
	{"RegisterUsage", "not entitled and platform are refused on the first call only, or on each, by option", "TestRegisterRefusedOnce"},

	{"ResolveCustomer", "the token expires", "TestResolveCustomer"},
	{"ResolveCustomer", "resolving it again gives the same result, or ExpiredTokenException, by option", "TestResolveCustomer, TestRegistrationTokenOptions"},
	{"ResolveCustomer", "only the account that published the product resolves its tokens and meters its buyers", "TestSellerAccount"},
	{"ResolveCustomer", "the token stands in no message and no log", "TestResolveCustomer, TestInspectionHoldsNoSecrets"},
	{"ResolveCustomer", "new products: no CustomerIdentifier, a LicenseArn", "TestResolveCustomer"},
	{"ResolveCustomer", "one account can hold several licences", "TestSubscribe"},

	{"life of a subscription", "about an hour for the last records after the end, then CustomerNotSubscribed", "TestCustomerNotSubscribed, TestHoursInNoTime"},
}

// TestRules prints the table with -v, and fails if a rule has no test or names
// one that is not there.
func TestRules(t *testing.T) {
	cases := testCases(t)
	section := ""
	for _, r := range rules {
		if r.section != section {
			section = r.section
			t.Logf("%s", section)
		}
		t.Logf("  %s: %s", r.rule, r.tests)
		require.NotEmpty(t, r.tests, r.rule)
		for _, name := range strings.Split(strings.ReplaceAll(r.tests, ", Test", "\x00Test"), "\x00") {
			function, subtest, _ := strings.Cut(name, "/")
			require.Contains(t, cases, function, r.rule)
			if subtest != "" {
				require.Contains(t, cases[function], subtest, "case of %s", function)
			}
		}
	}
}

// testCases returns the texts that stand in each test function, which the
// names of its cases are among.
func testCases(t *testing.T) map[string]map[string]bool {
	files, err := fs.Glob(os.DirFS("."), "*_test.go")
	require.NoError(t, err)
	cases := map[string]map[string]bool{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") {
				continue
			}
			texts := map[string]bool{}
			ast.Inspect(fn, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					s, _ := strconv.Unquote(l.Value)
					texts[s] = true
				}
				return true
			})
			cases[fn.Name.Name] = texts
		}
	}
	return cases
}
