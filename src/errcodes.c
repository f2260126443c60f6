/*
 * errcodes.c
 *	  The one table of error codes: the service's and our own, each with its
 *	  class, its meaning and what the person does now.
 *
 * Must never know rows or statuses: what a class means for a row is the
 * protocol's business.  Adding a code is adding its line, in order.
 *
 * The surprising rule: only a documented code may end a row.  What is in no
 * table gets the class "retry", whose outcome counts as unknown, or for the
 * account family 7xxxx "stop"; never "row".
 *
 * Source: the service's error code pages and the tables of its commands, as
 * published up to 2026; newer codes may exist.
 */
#include <stdlib.h>

#include "errcodes.h"

/*
 * Advice that many codes share.  Plain ASCII, since it is shown in databases
 * of every encoding.
 */
#define MAY_EXIST "Nothing to do for a row with a group_id: it is sent again under the same one, which cannot make a second group. A row whose id the service assigns is held as in_doubt: look in the app for its group, then call im_import_resolve() with its GroupId, or without one to send the row again."
#define SLOWED_DOWN "Nothing to do: the import slows down and the row is sent again. If other programs of the app need the rate, lower it with im_import_set_rate()."
#define CORRECT_ROW "Correct the row with an UPDATE that also sets status = 'pending'; error_info says more."
#define NOT_FOR_IMPORT "Importing groups should never meet this code: show it with its error_info to the service's support. im_import_retry() sends the rows again."
#define OF_FRIENDS "Only rows of im_friend_outbox meet this code. Correct the row with an UPDATE that also sets status = 'pending'; error_info says more."
#define FRIENDS_LIMIT(code) "Only rows of im_friend_outbox meet this code. Raise the plan, then call im_import_retry(" code ", kind => 'friend'); or leave the rows as they are."
#define OF_MESSAGES "Only rows of im_dialog_outbox and im_message_outbox meet this code. Correct the row with an UPDATE that also sets status = 'pending'; error_info says more."
#define ACCOUNT_OF(kind, code) "Only rows of im_" kind "_outbox meet this code. Import the accounts that the row names first, by rows of im_account_outbox; then call im_import_retry(" code ", kind => '" kind "')."
#define THEN_RESUME " An import that has stopped tries again by itself from time to time; CALL im_import_drain(1) tries it at once, with all accounts and one group, and keeps a pause."
#define CHECK_KEY "A new UserSig is made at once. If the code comes again, the import stops: run im_import_doctor() and compare the key file and identifier of the user mapping with the app's page in the console."
#define CLIENT_FAULT "Please report this as a bug of im_import, with its version." THEN_RESUME
#define SEE_CONSOLE(what) "Check in the app's console: " what "." THEN_RESUME

static const ImErrorCode table[] = {
	/* Client libraries' codes, which cannot come over this interface. */
	{-20009, IM_CLASS_ROW, "a code of the client libraries' connections", NOT_FOR_IMPORT},
	{-10114, IM_CLASS_ROW, "a code of the client libraries' connections (-10114 to -10001)", NOT_FOR_IMPORT},
	{-302, IM_CLASS_ROW, "a code of the client libraries' connections", NOT_FOR_IMPORT},

	/* Our own. */
	{IM_CODE_DISBANDED, IM_CLASS_DONE, "the group is disbanded, and the rows that belonged to it are being marked",
	"Nothing to do: the row becomes undone when all of them are. If that takes long, somebody has locked one of them."},
	{IM_CODE_ITEM, IM_CLASS_ROW, "the service refused this row within a call, and gave no reason",
	"The text in error_info names what can be the reason. Cure it, then call im_import_retry(-12)."},
	{IM_CODE_DIFFERENT, IM_CLASS_ROW, "the group_id belongs to a group with another type, name, owner or creation time",
	"Choose another group_id in an UPDATE that also sets status = 'pending'. If that group is yours and as you want it, leave the row as it is. Perhaps another row of the outbox made it: SELECT id, source_id, status FROM im_group_outbox WHERE group_id = '...'."},
	{IM_CODE_ADOPTED, IM_CLASS_RETRY, "the row came from another database, which may have sent it before",
	"Look in the app for the group, then call im_import_resolve() with its GroupId, or without one to send the row again."},
	{IM_CODE_OTHER_ID, IM_CLASS_RETRY, "the service's answer names another group than the one that was sent", MAY_EXIST},
	{IM_CODE_TLS, IM_CLASS_STOP, "the service's TLS certificate was not accepted, and nothing was sent",
	"Check the host's clock and CA bundle, option ca_file, and whether a proxy stands in between." THEN_RESUME},
	{IM_CODE_CRASHED, IM_CLASS_RETRY, "the process that sent the row died before it noted the outcome", MAY_EXIST},
	{IM_CODE_TOO_BIG, IM_CLASS_RETRY, "the service's answer was too long to be read", MAY_EXIST},
	{IM_CODE_UNREADABLE, IM_CLASS_RETRY, "the service's answer is not what it documents", MAY_EXIST},
	{IM_CODE_HTTP, IM_CLASS_RETRY, "a gateway answered with an HTTP error instead of the service", MAY_EXIST},
	{IM_CODE_LOST, IM_CLASS_RETRY, "the connection was lost before the answer came", MAY_EXIST},
	{IM_CODE_TIMEOUT, IM_CLASS_RETRY, "no answer came in time", MAY_EXIST},
	{IM_CODE_NOT_SENT, IM_CLASS_RETRY, "no connection to the service, and nothing was sent",
	"Nothing to do if it passes: the row waits and is sent when the service can be reached. Otherwise run im_import_doctor(), which tries name resolution and the connection."},

	{0, IM_CLASS_DONE, "done", "Nothing to do: the group exists."},

	/* Groups. */
	{10002, IM_CLASS_RETRY, "internal error of the service", MAY_EXIST},
	{10003, IM_CLASS_STOP, "the service does not know the command", CLIENT_FAULT},
	{10004, IM_CLASS_ROW, "a parameter is not valid, and error_info says which",
	"Correct the row with an UPDATE that also sets status = 'pending'. The text \"all defined key is invalid\" is no fault of the row: define the custom keys of app_defined_data in the app's console, wait some minutes, and call im_import_retry(10004, 'failed'), which leaves invalid rows alone. If a text is too long for the service, set option text_limits of the server to 'page'."},
	{10005, IM_CLASS_ROW, "too many accounts in one request", NOT_FOR_IMPORT},
	{10006, IM_CLASS_QUOTA, "too many operations, as a rule too many new groups today",
	"Nothing to do: the import waits and tries one row from time to time, if need be until the next day. Option groups_per_day of the server keeps it below the plan's daily number; a larger plan raises that number."},
	{10007, IM_CLASS_ROW, "the operation is not permitted, as for groups of type AVChatRoom",
	"An AVChatRoom cannot be imported: create it with the service's create_group, and delete the row. For other types choose one that the app may use, in an UPDATE that also sets status = 'pending'."},
	{10008, IM_CLASS_RESIGN, "the request is not valid, probably its signature", CHECK_KEY},
	{10009, IM_CLASS_ROW, "the owner may not leave the group", NOT_FOR_IMPORT},
	{10010, IM_CLASS_ROW, "the group does not exist or was dissolved", NOT_FOR_IMPORT},
	{10011, IM_CLASS_ROW, "the group service could not read the request as JSON",
	"Compare im_group_json() of the row with what you expect. If it is valid JSON, report a bug of im_import, then call im_import_retry(10011)."},
	{10012, IM_CLASS_STOP, "the operator's UserID is not valid",
	"Set option identifier of the user mapping to an app admin with ALTER USER MAPPING." THEN_RESUME},
	{10013, IM_CLASS_ROW, "the user is in the group already", NOT_FOR_IMPORT},
	{10014, IM_CLASS_ROW, "the group is full",
	"Raise max_member_count in an UPDATE that also sets status = 'pending', as far as the plan allows."},
	{10015, IM_CLASS_ROW, "the GroupId is not valid, or its group was dissolved",
	"Choose another group_id in an UPDATE that also sets status = 'pending': up to 48 printable ASCII characters, @TGS#_ first for a Community and for no other type."},
	{10016, IM_CLASS_ROW, "the app's own callback refused the operation",
	"Ask whoever runs the callback server of the app, then call im_import_retry(10016)."},
	{10017, IM_CLASS_ROW, "the sender is muted", NOT_FOR_IMPORT},
	{10018, IM_CLASS_ROW, "the answer would be larger than the service sends", NOT_FOR_IMPORT},
	{10019, IM_CLASS_ROW, "a UserID does not exist, here the owner's",
	"Import the owner's account into the app first, then call im_import_retry(10019); or clear owner_account in an UPDATE that also sets status = 'pending'."},
	{10020, IM_CLASS_ROW, "a message is too long", OF_MESSAGES},
	{10021, IM_CLASS_EXISTS, "the GroupId is taken",
	"Nothing to do at first: the extension compares the group with the row and settles a row whose group it is. If it is another group, choose another group_id in an UPDATE that also sets status = 'pending'; ids of dissolved groups can stay taken for a time."},
	{10023, IM_CLASS_SLOW, "messages come too fast for one group", SLOWED_DOWN},
	{10024, IM_CLASS_RETRY, "the service says that it handled this request before", MAY_EXIST},
	{10025, IM_CLASS_EXISTS, "the GroupId is taken by a group of the operator's own",
	"Nothing to do at first: the extension compares the group with the row and settles a row whose group it is. If it is another group, choose another group_id in an UPDATE that also sets status = 'pending'."},
	{10026, IM_CLASS_STOP, "the command is disabled for the app",
	"Ask the service's support to enable import_group for the SDKAppID." THEN_RESUME},
	{10030, IM_CLASS_ROW, "a message could not be recalled", NOT_FOR_IMPORT},
	{10031, IM_CLASS_ROW, "a message could not be recalled", NOT_FOR_IMPORT},
	{10032, IM_CLASS_ROW, "a message could not be recalled", NOT_FOR_IMPORT},
	{10033, IM_CLASS_ROW, "a message could not be recalled", NOT_FOR_IMPORT},
	{10034, IM_CLASS_ROW, "a message could not be deleted", NOT_FOR_IMPORT},
	{10035, IM_CLASS_ROW, "a message could not be deleted", NOT_FOR_IMPORT},
	{10036, IM_CLASS_ROW, "the app has too many groups of type AVChatRoom", NOT_FOR_IMPORT},
	{10037, IM_CLASS_ROW, "the owner is in too many groups",
	"Raise the plan's number of groups per user, then call im_import_retry(10037); or choose another owner_account, or none, in an UPDATE that also sets status = 'pending'."},
	{10038, IM_CLASS_ROW, "more members than the group or the plan allows",
	"Lower max_member_count in an UPDATE that also sets status = 'pending', or raise the plan and call im_import_retry(10038)."},
	{10041, IM_CLASS_ROW, "recalling messages is switched off", NOT_FOR_IMPORT},
	{10044, IM_CLASS_ROW, "groups of this type keep no message history", NOT_FOR_IMPORT},
	{10045, IM_CLASS_ROW, "the key of a group attribute is longer than 32 bytes", NOT_FOR_IMPORT},
	{10046, IM_CLASS_ROW, "the value of a group attribute is longer than 4,000 bytes", NOT_FOR_IMPORT},
	{10047, IM_CLASS_ROW, "a group has more than 16 attributes", NOT_FOR_IMPORT},
	{10048, IM_CLASS_ROW, "the attributes of a group are longer than 16,000 bytes together", NOT_FOR_IMPORT},
	{10049, IM_CLASS_ROW, "group attributes are written too often", NOT_FOR_IMPORT},
	{10050, IM_CLASS_ROW, "a group attribute does not exist", NOT_FOR_IMPORT},
	{10051, IM_CLASS_ROW, "the range of messages to delete is not valid", NOT_FOR_IMPORT},
	{10052, IM_CLASS_ROW, "there are no messages left to delete", NOT_FOR_IMPORT},
	{10053, IM_CLASS_ROW, "a message mentions more than 30 users", NOT_FOR_IMPORT},
	{10054, IM_CLASS_ROW, "too many members for one answer", NOT_FOR_IMPORT},
	{10056, IM_CLASS_ROW, "a group attribute was written by somebody else meanwhile", NOT_FOR_IMPORT},
	{10058, IM_CLASS_STOP, "the trial plan allows 100 groups and no more",
	"Buy a plan for the app, or dissolve groups that are no longer needed." THEN_RESUME},
	{10059, IM_CLASS_ROW, "the plan does not include this feature or type of group",
	"Raise the plan and call im_import_retry(10059), or choose another type in an UPDATE that also sets status = 'pending'."},
	{10060, IM_CLASS_ROW, "a read receipt is not available", NOT_FOR_IMPORT},
	{10061, IM_CLASS_ROW, "a read receipt is not available", NOT_FOR_IMPORT},
	{10062, IM_CLASS_ROW, "a read receipt is not available", NOT_FOR_IMPORT},
	{10063, IM_CLASS_ROW, "a group has more than 20 counters", NOT_FOR_IMPORT},
	{10070, IM_CLASS_ROW, "a group has too many pinned messages", NOT_FOR_IMPORT},
	{10071, IM_CLASS_ROW, "the message is pinned already", NOT_FOR_IMPORT},
	{10100, IM_CLASS_ROW, "the app's own group callback refused the operation (10100 to 10200)",
	"Ask whoever runs the callback server of the app, then call im_import_retry() with the code."},
	{11000, IM_CLASS_ROW, "groups of type Community are not enabled for the app",
	"Enable Community in the app's console and call im_import_retry(11000), or choose another type in an UPDATE that also sets status = 'pending'."},

	/* One-to-one messages. */
	{20001, IM_CLASS_ROW, "the request is not valid", NOT_FOR_IMPORT},
	{20002, IM_CLASS_RESIGN, "the UserSig was refused", CHECK_KEY},
	{20003, IM_CLASS_ROW, "a UserID does not exist", NOT_FOR_IMPORT},
	{20004, IM_CLASS_RETRY, "network trouble within the service", MAY_EXIST},
	{20005, IM_CLASS_RETRY, "internal error of the service", MAY_EXIST},
	{20006, IM_CLASS_ROW, "a rule for one-to-one messages refused the request", NOT_FOR_IMPORT},
	{20007, IM_CLASS_ROW, "a rule for one-to-one messages refused the request", NOT_FOR_IMPORT},
	{20008, IM_CLASS_ROW, "a rule for one-to-one messages refused the request", NOT_FOR_IMPORT},
	{20009, IM_CLASS_ROW, "a rule for one-to-one messages refused the request", NOT_FOR_IMPORT},
	{20010, IM_CLASS_ROW, "a rule for one-to-one messages refused the request", NOT_FOR_IMPORT},
	{20011, IM_CLASS_ROW, "a rule for one-to-one messages refused the request", NOT_FOR_IMPORT},
	{20012, IM_CLASS_ROW, "a rule for one-to-one messages refused the request", NOT_FOR_IMPORT},
	{20016, IM_CLASS_ROW, "a rule for one-to-one messages refused the request", NOT_FOR_IMPORT},
	{20018, IM_CLASS_ROW, "a rule for one-to-one messages refused the request", NOT_FOR_IMPORT},
	{20022, IM_CLASS_ROW, "a rule for one-to-one messages refused the request", NOT_FOR_IMPORT},
	{20023, IM_CLASS_ROW, "a rule for one-to-one messages refused the request", NOT_FOR_IMPORT},
	{20028, IM_CLASS_ROW, "a rule for one-to-one messages refused the request", NOT_FOR_IMPORT},

	/* Friends. */
	{30001, IM_CLASS_ROW, "a parameter of a friends command is not valid", OF_FRIENDS},
	{30002, IM_CLASS_STOP, "the SDKAppID does not match the account's",
	"Compare option sdkappid of the server with the app's page in the console, and change it with ALTER SERVER." THEN_RESUME},
	{30003, IM_CLASS_ROW, "a user of a friends command does not exist", ACCOUNT_OF("friend", "30003")},
	{30004, IM_CLASS_STOP, "the command needs an app admin",
	"Make the identifier of the user mapping an app admin in the console, or name another with ALTER USER MAPPING." THEN_RESUME},
	{30005, IM_CLASS_ROW, "a text of a friends command met the word filter", OF_FRIENDS},
	{30006, IM_CLASS_RETRY, "internal error of the friends service", MAY_EXIST},
	{30007, IM_CLASS_RETRY, "time-out within the friends service", MAY_EXIST},
	{30008, IM_CLASS_RETRY, "the user's friends were written by somebody else meanwhile", MAY_EXIST},
	{30010, IM_CLASS_ROW, "a limit of the friends service was reached", FRIENDS_LIMIT("30010")},
	{30011, IM_CLASS_ROW, "a limit of the friends service was reached", FRIENDS_LIMIT("30011")},
	{30012, IM_CLASS_ROW, "a limit of the friends service was reached", FRIENDS_LIMIT("30012")},
	{30013, IM_CLASS_ROW, "a limit of the friends service was reached", FRIENDS_LIMIT("30013")},
	{30014, IM_CLASS_ROW, "a limit of the friends service was reached", FRIENDS_LIMIT("30014")},
	{30015, IM_CLASS_ROW, "the two are friends already", NOT_FOR_IMPORT},

	/* Profiles. */
	{40001, IM_CLASS_ROW, "a value of a user's profile is not valid", NOT_FOR_IMPORT},
	{40002, IM_CLASS_ROW, "a value of a user's profile is not valid", NOT_FOR_IMPORT},
	{40003, IM_CLASS_ROW, "a value of a user's profile is not valid", NOT_FOR_IMPORT},
	{40004, IM_CLASS_STOP, "the command needs an app admin",
	"Make the identifier of the user mapping an app admin in the console, or name another with ALTER USER MAPPING." THEN_RESUME},
	{40005, IM_CLASS_ROW, "a value of a user's profile is not valid", NOT_FOR_IMPORT},
	{40006, IM_CLASS_RETRY, "internal error of the profile service", MAY_EXIST},
	{40009, IM_CLASS_ROW, "a value of a user's profile is not valid", NOT_FOR_IMPORT},
	{40601, IM_CLASS_ROW, "a value of a user's profile is not valid", NOT_FOR_IMPORT},
	{40605, IM_CLASS_ROW, "a value of a user's profile is not valid", NOT_FOR_IMPORT},
	{40610, IM_CLASS_ROW, "a value of a user's profile is not valid", NOT_FOR_IMPORT},

	/* Recent contacts. */
	{50004, IM_CLASS_RETRY, "internal error of the recent contacts service", MAY_EXIST},
	{50005, IM_CLASS_RETRY, "time-out within the recent contacts service", MAY_EXIST},

	/* Every command: the request as such. */
	{60002, IM_CLASS_STOP, "the service could not read the request's URL",
	"Check option identifier of the user mapping for unusual characters. If it has none, report a bug of im_import." THEN_RESUME},
	{60003, IM_CLASS_ROW, "the service could not read the request as JSON",
	"Compare im_group_json() of the row with what you expect. If it is valid JSON, report a bug of im_import, then call im_import_retry(60003)."},
	{60004, IM_CLASS_RESIGN, "the admin's UserID or UserSig is wrong", CHECK_KEY},
	{60005, IM_CLASS_RESIGN, "the admin's UserID or UserSig is wrong", CHECK_KEY},
	{60006, IM_CLASS_STOP, "the SDKAppID is not valid",
	"Compare option sdkappid of the server with the app's page in the console, and change it with ALTER SERVER ... OPTIONS (SET sdkappid ...)." THEN_RESUME},
	{60007, IM_CLASS_SLOW, "calls come too fast", SLOWED_DOWN},
	{60008, IM_CLASS_RETRY, "time-out within the service", MAY_EXIST},
	{60009, IM_CLASS_STOP, "the service does not know the address that was called",
	"Check option endpoint of the server if it is set; else report a bug of im_import." THEN_RESUME},
	{60010, IM_CLASS_STOP, "the identifier is not an app admin",
	"Make the identifier of the user mapping an app admin in the console, or name another with ALTER USER MAPPING." THEN_RESUME},
	{60011, IM_CLASS_SLOW, "all programs of the app together call too fast", SLOWED_DOWN},
	{60012, IM_CLASS_STOP, "the request names no SDKAppID",
	"Check option sdkappid of the server; if it is set, report a bug of im_import." THEN_RESUME},
	{60013, IM_CLASS_RETRY, "a part of the service answered another with something unreadable", MAY_EXIST},
	{60014, IM_CLASS_RETRY, "time-out while the service looked up an account", MAY_EXIST},
	{60015, IM_CLASS_ROW, "a UserID in the request is not a string",
	"Check owner_account of the row and im_group_json() of it; report a bug of im_import if both are good, then call im_import_retry(60015)."},
	{60016, IM_CLASS_STOP, "the app is disabled", SEE_CONSOLE("whether the app is in use and paid for")},
	{60017, IM_CLASS_STOP, "the request is forbidden", SEE_CONSOLE("whether the app may use the REST API")},
	{60018, IM_CLASS_SLOW, "too many requests at the service now", SLOWED_DOWN},
	{60019, IM_CLASS_SLOW, "too many requests at the service now", SLOWED_DOWN},
	{60020, IM_CLASS_STOP, "the app's plan has expired, was not bought, or is not in force yet", SEE_CONSOLE("the app's plan; a new one takes about five minutes")},
	{60021, IM_CLASS_STOP, "the service refuses the IP address of this host", SEE_CONSOLE("the list of IP addresses that may call the REST API")},

	/* Every command: the account and its signature. */
	{70001, IM_CLASS_RESIGN, "the UserSig has expired", "Check the clock of this host. " CHECK_KEY},
	{70002, IM_CLASS_STOP, "the UserSig is empty", CLIENT_FAULT},
	{70003, IM_CLASS_RESIGN, "the service could not read the UserSig", CHECK_KEY},
	{70005, IM_CLASS_RESIGN, "the UserSig is not valid", CHECK_KEY},
	{70009, IM_CLASS_STOP, "the UserSig was made with another app's key",
	"Put the key of this very SDKAppID into the file that secret_key_file names, or name another file with ALTER USER MAPPING." THEN_RESUME},
	{70013, IM_CLASS_STOP, "the UserSig is for another identifier", CLIENT_FAULT},
	{70014, IM_CLASS_STOP, "the UserSig is for another SDKAppID", CLIENT_FAULT},
	{70016, IM_CLASS_STOP, "the app has no key here, perhaps because it lives in another region",
	"Set the region that the console names, with ALTER SERVER ... OPTIONS (SET region ...)." THEN_RESUME},
	{70020, IM_CLASS_STOP, "the SDKAppID is not known here, perhaps because it lives in another region",
	"Compare options sdkappid and region of the server with the console, and change them with ALTER SERVER ... OPTIONS (SET region ...)." THEN_RESUME},
	{70050, IM_CLASS_STOP, "too many bad UserSigs, so that the service refuses for a minute",
	"Run im_import_doctor() and cure what it says of the key before anything is sent again." THEN_RESUME},
	{70051, IM_CLASS_STOP, "the admin's account is blocked",
	"Name another app admin with ALTER USER MAPPING, or ask the service's support." THEN_RESUME},
	{70052, IM_CLASS_RESIGN, "the UserSig is no longer valid", CHECK_KEY},
	{70101, IM_CLASS_ROW, "a ticket of a login has expired", NOT_FOR_IMPORT},
	{70107, IM_CLASS_ROW, "an account does not exist in the app",
	"Import the owner's account into the app first, then call im_import_retry(70107). If every row gets this code, it is the identifier of the user mapping that does not exist."},
	{70114, IM_CLASS_STOP, "the admin's login is limited for security",
	"Ask the service's support, or name another app admin with ALTER USER MAPPING." THEN_RESUME},
	{70169, IM_CLASS_RETRY, "time-out within the account service", MAY_EXIST},
	{70202, IM_CLASS_RETRY, "time-out within the account service", MAY_EXIST},
	{70206, IM_CLASS_ROW, "the number of accounts in one request is not allowed", NOT_FOR_IMPORT},
	{70346, IM_CLASS_RESIGN, "the ticket was refused, in the words of an older service", CHECK_KEY},
	{70347, IM_CLASS_RESIGN, "the ticket was refused, in the words of an older service", CHECK_KEY},
	{70348, IM_CLASS_RESIGN, "the ticket was refused, in the words of an older service", CHECK_KEY},
	{70398, IM_CLASS_STOP, "the trial plan allows 100 accounts and no more",
	"Buy a plan for the app, or delete accounts that are no longer needed." THEN_RESUME},
	{70399, IM_CLASS_ROW, "the UserID was deleted and cannot be used for three months",
	"Choose another owner_account, or none, in an UPDATE that also sets status = 'pending'."},
	{70402, IM_CLASS_ROW, "a parameter is not valid", CORRECT_ROW},
	{70403, IM_CLASS_STOP, "the command needs an app admin",
	"Make the identifier of the user mapping an app admin in the console, or name another with ALTER USER MAPPING." THEN_RESUME},
	{70500, IM_CLASS_RETRY, "internal error of the account service", MAY_EXIST},
	{71000, IM_CLASS_ROW, "the plan does not allow deleting accounts", NOT_FOR_IMPORT},
	{72000, IM_CLASS_STOP, "the trial plan's number of daily users is used up",
	"Buy a plan for the app, or wait until tomorrow." THEN_RESUME},
	{72001, IM_CLASS_ROW, "the app has the user status feature switched off", NOT_FOR_IMPORT},
	{72012, IM_CLASS_ROW, "the app has the profile subscription feature switched off", NOT_FOR_IMPORT},

	/* Content. */
	{80001, IM_CLASS_ROW, "a text met the service's word filter",
	"Change name, introduction or notification in an UPDATE that also sets status = 'pending', or change the filter in the console and call im_import_retry(80001)."},
	{80002, IM_CLASS_ROW, "a message is too long", OF_MESSAGES},
	{80003, IM_CLASS_RETRY, "the app's own callback could not be reached or did not answer well",
	"Check the callback server of the app, or switch the callback off in the console. A row with a group_id is sent again meanwhile; one whose id the service assigns is held as in_doubt for im_import_resolve()."},
	{80004, IM_CLASS_ROW, "a picture met the service's filter",
	"Change face_url in an UPDATE that also sets status = 'pending'."},
	{80005, IM_CLASS_STOP, "the service is stopped for the app: plan expired or bill not paid", SEE_CONSOLE("the app's plan and bills")},

	/* Sending messages. */
	{90001, IM_CLASS_ROW, "the request of a message command is not valid JSON", NOT_FOR_IMPORT},
	{90002, IM_CLASS_ROW, "the body of a message is not valid", OF_MESSAGES},
	{90003, IM_CLASS_ROW, "an account of a message command is missing or not valid", ACCOUNT_OF("dialog", "90003")},
	{90005, IM_CLASS_ROW, "a field of a message command is missing or not valid", OF_MESSAGES},
	{90006, IM_CLASS_ROW, "a field of a message command is missing or not valid", OF_MESSAGES},
	{90007, IM_CLASS_ROW, "the body of a message is not valid", OF_MESSAGES},
	{90008, IM_CLASS_ROW, "an account of a message command is missing or not valid", ACCOUNT_OF("dialog", "90008")},
	{90009, IM_CLASS_STOP, "the command needs an app admin",
	"Make the identifier of the user mapping an app admin in the console, or name another with ALTER USER MAPPING." THEN_RESUME},
	{90010, IM_CLASS_ROW, "the body of a message is not valid", OF_MESSAGES},
	{90011, IM_CLASS_ROW, "a field of a message command is missing or not valid", OF_MESSAGES},
	{90012, IM_CLASS_ROW, "an account of a message command is missing or not valid", ACCOUNT_OF("dialog", "90012")},
	{90026, IM_CLASS_ROW, "a message is to be kept for longer than the service allows", NOT_FOR_IMPORT},
	{90030, IM_CLASS_ROW, "a field of a message command is missing or not valid", OF_MESSAGES},
	{90048, IM_CLASS_ROW, "an account of a message command is missing or not valid", ACCOUNT_OF("dialog", "90048")},
	{90992, IM_CLASS_RETRY, "internal error of the message service, or a broken callback of the app", MAY_EXIST},
	{90994, IM_CLASS_RETRY, "internal error of the message service", MAY_EXIST},
	{90995, IM_CLASS_RETRY, "internal error of the message service", MAY_EXIST},
	{91000, IM_CLASS_RETRY, "internal error of the message service", MAY_EXIST},
	{93000, IM_CLASS_ROW, "a message is too long", OF_MESSAGES},
	{120001, IM_CLASS_ROW, "the app's own message callback refused the operation (120001 to 130000)", NOT_FOR_IMPORT},
};

/* Codes that are documented as a range share the entry of its first code. */
static const struct
{
	int32_t		first;
	int32_t		last;
}			ranges[] = {
	{-10114, -10001},
	{10100, 10200},
	{120001, 130000},
};

/*
 * Families of undocumented codes; the last takes what no other does.  Their
 * own code is the one that says "not what the API documents".
 */
static const struct
{
	int32_t		first;
	int32_t		last;
	ImErrorCode entry;
}			families[] = {
	{60000, 69999, {IM_CODE_UNREADABLE, IM_CLASS_RETRY, "an undocumented refusal of a request", MAY_EXIST}},
	{70000, 79999, {IM_CODE_UNREADABLE, IM_CLASS_STOP, "an undocumented refusal of the account or its signature",
	"Look the code up in the service's newest list of error codes, and run im_import_doctor()." THEN_RESUME}},
	{10000, 11999, {IM_CODE_UNREADABLE, IM_CLASS_RETRY, "an undocumented code of the group service", MAY_EXIST}},
	{INT32_MIN, INT32_MAX, {IM_CODE_UNREADABLE, IM_CLASS_RETRY, "an undocumented code", MAY_EXIST}},
};

/* What to do with rows of any kind but groups, for which the table's advice is. */
static const ImAdvice of_rows[] = {
	{10019, IM_NEEDS_ACCOUNT},
	{20003, IM_NEEDS_ACCOUNT},
	{30003, IM_NEEDS_ACCOUNT},
	{70107, IM_NEEDS_ACCOUNT},
	{0, NULL}
};

static const char *const class_names[] = {
	[IM_CLASS_DONE] = "done",
	[IM_CLASS_EXISTS] = "exists",
	[IM_CLASS_ROW] = "row",
	[IM_CLASS_SLOW] = "slow",
	[IM_CLASS_QUOTA] = "quota",
	[IM_CLASS_RESIGN] = "resign",
	[IM_CLASS_STOP] = "stop",
	[IM_CLASS_RETRY] = "retry",
};

#define COUNT(array) ((int) (sizeof(array) / sizeof((array)[0])))

/* See errcodes.h. */
const ImErrorCode *
im_error_table(int *n)
{
	*n = COUNT(table);
	return table;
}

/* For bsearch(): where a code stands to an entry. */
static int
compare_code(const void *key, const void *entry)
{
	int32_t		code = *(const int32_t *) key;
	int32_t		other = ((const ImErrorCode *) entry)->code;

	return (code > other) - (code < other);
}

/* The table's entry of a code, or of the range that it is in; NULL if none. */
static const ImErrorCode *
find_documented(int32_t code)
{
	for (int i = 0; i < COUNT(ranges); i++)
	{
		if (code >= ranges[i].first && code <= ranges[i].last)
			code = ranges[i].first;
	}
	return bsearch(&code, table, COUNT(table), sizeof(table[0]), compare_code);
}

/* See errcodes.h. */
const ImErrorCode *
im_error_find(int32_t code)
{
	const ImErrorCode *entry = find_documented(code);
	int			i = 0;

	if (entry != NULL)
		return entry;
	while (code < families[i].first || code > families[i].last)
		i++;
	return &families[i].entry;
}

/* The advice for a code in a list, or NULL. */
static const char *
find_advice(const ImAdvice *list, int32_t code)
{
	for (; list != NULL && list->advice != NULL; list++)
		if (list->code == code)
			return list->advice;
	return NULL;
}

/* See errcodes.h. */
const char *
im_error_advice(const ImAdvice *own, bool groups, int32_t code)
{
	const ImErrorCode *entry = im_error_find(code);
	const char *advice = find_advice(own, code);

	if (groups || code == IM_CODE_ITEM || code == IM_CODE_NOT_SENT)
		return entry->advice;
	if (advice == NULL)
		advice = find_advice(of_rows, code);
	if (advice != NULL)
		return advice;
	switch (entry->class)
	{
		case IM_CLASS_ROW:
		case IM_CLASS_EXISTS:
			return "Correct the row with an UPDATE that also sets status = 'pending'; error_info says more. If the cause lies elsewhere, cure it and call im_import_retry() with this code.";
		case IM_CLASS_RETRY:
			return "Nothing to do while the row is pending. When it has failed and the cause is gone, call im_import_retry() with this code: nothing arrives twice.";
		default:
			return entry->advice;
	}
}

/* See errcodes.h. */
bool
im_error_documented(int32_t code)
{
	return find_documented(code) != NULL;
}

/* See errcodes.h. */
const char *
im_class_name(ImClass class)
{
	if ((size_t) class >= sizeof(class_names) / sizeof(class_names[0]))
		return "unknown";
	return class_names[class];
}

/* See errcodes.h. */
bool
im_code_is_too_many(int32_t code, int items, int usual)
{
	/* A parameter that is bad may be the number of items, if it is unusual. */
	return items > 1 && (code == 10005 || code == 70206 || (code == 10004 && items > usual));
}

/* See errcodes.h. */
bool
im_code_is_app_wide(int32_t code)
{
	return code == 60011;
}
