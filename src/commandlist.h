/*
 * commandlist.h
 *	  The table of commands: the kinds of rows, in the order of the move, and the
 *	  operations of the service, a line each.
 *
 * Whoever makes something of each line defines what, and includes this file: what
 * is not defined is nothing.  Therefore it has no #ifndef around it.
 */
#ifndef IM_KIND
#define IM_KIND(kind, name, function)
#endif
#ifndef IM_KIND_OF_OTHERS
#define IM_KIND_OF_OTHERS(kind, name)
#endif
#ifndef IM_PER_CALL
#define IM_PER_CALL(kind, rows, most, note)
#endif
#ifndef IM_IMPORT
#define IM_IMPORT(op, kind, path, reply_cap)
#endif
#ifndef IM_QUESTION
#define IM_QUESTION(op, limiter, kind, path, reply_cap, rate, ask, read, own_codes)
#endif

/*
 * A kind, its command im_cmd_NAME, and what imports one row now.  Those from
 * IM_FIRST_STAGE on belong to groups.
 */
IM_KIND(IM_ACCOUNT, account, im_sql_import_account)
IM_KIND(IM_FRIEND, friend, im_sql_import_friend)
IM_KIND(IM_DIALOG, dialog, im_sql_import_dialog)
IM_KIND(IM_GROUP, group, im_sql_import_group)
IM_KIND(IM_MEMBER, member, im_sql_import_member)
IM_KIND(IM_MESSAGE, message, im_sql_import_message)
IM_KIND(IM_UNREAD, unread, im_sql_set_unread)

/* What is done with rows of another kind's outbox. */
IM_KIND_OF_OTHERS(IM_UNDO_GROUP, undo)

/* Kinds of which many rows go into a call: the option ROWS_per_call. */
IM_PER_CALL(IM_ACCOUNT, accounts, 1000, "; the service's limit is 100")
IM_PER_CALL(IM_FRIEND, friends, 1000, "")
IM_PER_CALL(IM_MEMBER, members, 500, "; documents of different age say 20 to 500")
IM_PER_CALL(IM_MESSAGE, messages, 20, "; the service's limit is 7")

/* Operations that change the app; in whose history they count; path, and bytes of an answer. */
IM_IMPORT(IM_OP_IMPORT_ACCOUNTS, IM_ACCOUNT, "im_open_login_svc/multiaccount_import", REPLY_SMALL)
IM_IMPORT(IM_OP_IMPORT_ACCOUNT, IM_ACCOUNT, "im_open_login_svc/account_import", REPLY_SMALL)
IM_IMPORT(IM_OP_IMPORT_FRIENDS, IM_FRIEND, "sns/friend_import", REPLY_LARGE)
IM_IMPORT(IM_OP_IMPORT_DIALOG, IM_DIALOG, "openim/importmsg", REPLY_SMALL)
IM_IMPORT(IM_OP_IMPORT_GROUP, IM_GROUP, "group_open_http_svc/import_group", REPLY_SMALL)
IM_IMPORT(IM_OP_IMPORT_MEMBERS, IM_MEMBER, "group_open_http_svc/import_group_member", REPLY_SMALL)
IM_IMPORT(IM_OP_IMPORT_MESSAGES, IM_MESSAGE, "group_open_http_svc/import_group_msg", REPLY_SMALL)
IM_IMPORT(IM_OP_SET_UNREAD, IM_UNREAD, "group_open_http_svc/set_unread_msg_num", REPLY_SMALL)
IM_IMPORT(IM_OP_DESTROY_GROUP, IM_GROUP, "group_open_http_svc/destroy_group", REPLY_SMALL)

/*
 * Operations that only ask: whose limit they use, as they are one command; calls a
 * second at most, if the service's page says less than 200; what composes the
 * request and reads the answer, and whether its entries have codes, so that the
 * answer's own means nothing.
 */
/* Whose groups are these?  After an unknown outcome. */
IM_QUESTION(IM_OP_GET_GROUP_INFO, IM_OP_GET_GROUP_INFO, IM_GROUP, "group_open_http_svc/get_group_info",
			REPLY_LARGE, 0, im_group_ask, im_reply_groups, true)
/* How they differ, in all fields. */
IM_QUESTION(IM_OP_CHECK_GROUPS, IM_OP_GET_GROUP_INFO, IM_GROUP, "group_open_http_svc/get_group_info",
			REPLY_LARGE, 0, im_group_ask, im_reply_groups, true)
IM_QUESTION(IM_OP_CHECK_ACCOUNTS, IM_OP_CHECK_ACCOUNTS, IM_ACCOUNT, "im_open_login_svc/account_check",
			REPLY_SMALL, 100, im_account_ask, im_results_accounts, false)
/* The newest messages of a group, after an unknown outcome. */
IM_QUESTION(IM_OP_GET_MESSAGES, IM_OP_GET_MESSAGES, IM_MESSAGE, "group_open_http_svc/group_msg_get_simple",
			REPLY_LARGE, 0, im_message_ask, im_results_find, false)
/* Messages anywhere in the group. */
IM_QUESTION(IM_OP_CHECK_MESSAGES, IM_OP_GET_MESSAGES, IM_MESSAGE, "group_open_http_svc/group_msg_get_simple",
			REPLY_LARGE, 0, im_message_ask, im_results_messages, false)
/* How far the messages of groups are. */
IM_QUESTION(IM_OP_COUNT_MESSAGES, IM_OP_GET_GROUP_INFO, IM_MESSAGE, "group_open_http_svc/get_group_info",
			REPLY_LARGE, 0, im_message_ask_counts, im_results_counts, true)
IM_QUESTION(IM_OP_CHECK_MEMBERS, IM_OP_CHECK_MEMBERS, IM_MEMBER, "group_open_http_svc/get_role_in_group",
			REPLY_LARGE, 0, im_member_ask, im_results_members, false)
IM_QUESTION(IM_OP_CHECK_FRIENDS, IM_OP_CHECK_FRIENDS, IM_FRIEND, "sns/friend_check",
			REPLY_LARGE, 0, im_friend_ask, im_results_friends, false)
IM_QUESTION(IM_OP_CHECK_DIALOG, IM_OP_CHECK_DIALOG, IM_DIALOG, "openim/admin_getroammsg",
			REPLY_LARGE, 0, im_dialog_ask, im_results_dialog, false)
IM_QUESTION(IM_OP_LIST_GROUPS, IM_OP_LIST_GROUPS, IM_GROUP, "group_open_http_svc/get_appid_group_list",
			REPLY_LARGE, 1, im_group_ask_page, im_results_page, false)

#undef IM_KIND
#undef IM_KIND_OF_OTHERS
#undef IM_PER_CALL
#undef IM_IMPORT
#undef IM_QUESTION
