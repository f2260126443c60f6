/*
 * fuzz_usersig.c
 *	  Decodes any bytes within bounds, and whatever can be signed decodes to
 *	  what was signed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "usersig.h"

/* True if json begins with the identifier as a JSON string. */
static bool
names_identifier(const char *json, const char *identifier)
{
	static const char start[] = "{\"TLS.ver\":\"2.0\",\"TLS.identifier\":\"";

	if (strncmp(json, start, sizeof(start) - 1) != 0)
		return false;
	json += sizeof(start) - 1;
	for (; *identifier != '\0'; identifier++)
	{
		if ((*identifier == '"' || *identifier == '\\') && *json++ != '\\')
			return false;
		if (*json++ != *identifier)
			return false;
	}
	return strncmp(json, "\",\"TLS.sdkappid\":", 17) == 0;
}

/* Signs for the bytes as identifier, with them as key, and decodes. */
static void
check_sign(const uint8_t *data, size_t size)
{
	char		sig[IM_USERSIG_MAX];
	char		json[IM_USERSIG_JSON_MAX];
	char	   *identifier = malloc(size + 1);
	size_t		len;

	CHECK(identifier != NULL);
	if (size > 0)
		memcpy(identifier, data, size);
	identifier[size] = '\0';
	if (im_usersig_sign(1400000000, (const char *) data, size, identifier, 0, 60, sig) == IM_SIG_OK)
	{
		CHECK(im_usersig_decode(sig, strlen(sig), json, &len) == IM_SIG_OK);
		CHECK(len == strlen(json) && names_identifier(json, identifier));
	}
	else
		CHECK(sig[0] == '\0');
	free(identifier);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char		json[IM_USERSIG_JSON_MAX];
	size_t		len = SIZE_MAX;
	ImSigResult result;

	result = im_usersig_decode((const char *) data, size, json, &len);
	CHECK(len < IM_USERSIG_JSON_MAX && json[len] == '\0');
	CHECK(result == IM_SIG_OK || (result >= IM_SIG_CRYPTO && len == 0));
	CHECK(strlen(im_usersig_result_text(result)) > 0);
	check_sign(data, size);
	return 0;
}
