"""Accounts and their profiles."""

from __future__ import annotations

from base import App, Refusal, batch, happen, is_user, objects, size, strings, text, user

MAX_PROFILE = 500
BAD = 70402
TOO_LONG = 40601
GONE = 70107

_TAGS = {"Nick": "Tag_Profile_IM_Nick", "FaceUrl": "Tag_Profile_IM_Image"}
_PROFILE_TAG = ("Tag_Profile_IM_", "Tag_Profile_Custom_")


def exists(service, app: App, account: str) -> bool:
    """Is there such an account, as far as one is required?  An admin is an account by itself."""
    return (service.settings.accounts == "any" or account in app.admins
            or account in service.ledger.of(app.sdkappid).accounts)


def _judge(service, app: App, account: dict, key: str) -> int:
    """The code for one account that is to be imported."""
    settings = service.settings
    name = account.get(key)
    book = service.ledger.of(app.sdkappid)
    if not is_user(name, settings):
        return BAD
    if name in settings.fail["account"]:
        return settings.fail["account"][name]
    for field in _TAGS:
        if type(account.get(field, "")) is not str:
            return BAD
        if size(account.get(field, "")) > MAX_PROFILE:
            return TOO_LONG
    if name in book.deleted and settings.deleted_accounts == "blocked":
        return 70399
    if name not in book.accounts and settings.account_cap is not None and len(book.accounts) >= settings.account_cap:
        return 70398
    return 0


def _import(service, app: App, call, account: dict, key: str, overwrite: bool):
    """Make the account, or give it what is new.  A repeat that changes nothing leaves no line."""
    known = service.ledger.of(app.sdkappid).accounts.get(account[key])
    made = known or {"Nick": "", "FaceUrl": ""}
    if known is None or overwrite:
        made = dict(made, **{field: account[field] for field in _TAGS if field in account})
    if made == known:
        return
    happen(service, app, call, "account", {
        "user_id": account[key], "nick": made["Nick"], "face_url": made["FaceUrl"], "repeat": known is not None})


def account_import(service, app: App, call) -> dict:
    """Import one account.  Repeating it is harmless."""
    key = service.settings.account_key
    if key == "any":
        key = "UserID" if "UserID" in call.body else "Identifier"
    call.unknown_fields = [name for name in call.body if name not in (key, *_TAGS)]
    code = _judge(service, app, call.body, key)
    if code:
        raise Refusal(code, "the account can not be imported")
    _import(service, app, call, call.body, key, service.settings.account_again == "overwrite")
    service.notice()
    return {}


def multiaccount_import(service, app: App, call) -> dict:
    """Import up to 100.  Those that fail are named, without a reason, and the whole is still OK."""
    if ("Accounts" in call.body) == ("AccountList" in call.body):
        raise Refusal(BAD, "one of Accounts and AccountList is needed")
    new = "AccountList" in call.body
    call.unknown_fields = [name for name in call.body if name not in ("Accounts", "AccountList")]
    if new:
        listed = objects(batch(service, call, "AccountList", BAD), "AccountList", BAD)
    else:
        listed = [{"UserID": name} for name in strings(batch(service, call, "Accounts", BAD), "Accounts", BAD)]
    if any(type(one.get("UserID")) is not str for one in listed):
        raise Refusal(BAD, "UserID is not a string")
    failed = []
    for account in listed[:call.partial]:
        if _judge(service, app, account, "UserID"):
            failed.append(account["UserID"])
        else:
            _import(service, app, call, account, "UserID", new)
    call.results = failed
    service.notice()
    return {"FailAccounts": failed} if failed or service.settings.empty_fail_lists else {}


def _named(service, call, name: str) -> list:
    """The UserIDs of an array of {UserID}."""
    return [user(service, one, "UserID", BAD) for one in objects(batch(service, call, name, BAD), name, BAD)]


def account_check(service, app: App, call) -> dict:
    """Which of these accounts were imported."""
    book = service.ledger.of(app.sdkappid)
    return {"ResultItem": [
        {"UserID": name, "ResultCode": 0, "ResultInfo": "",
         "AccountStatus": "Imported" if name in book.accounts or name in app.admins else "NotImported"}
        for name in _named(service, call, "CheckItem")]}


def account_delete(service, app: App, call) -> dict:
    """Delete accounts with all that is theirs.  Their ids can not be imported again soon."""
    if service.settings.account_delete == "refused":
        raise Refusal(71000, "accounts of this plan can not be deleted")
    items = []
    for name in _named(service, call, "DeleteItem")[:call.partial]:
        code = 0 if name in service.ledger.of(app.sdkappid).accounts else GONE
        if not code:
            happen(service, app, call, "account_delete", {"user_id": name})
        items.append({"UserID": name, "ResultCode": code,
                      "ResultInfo": "Err_TLS_PT_Open_Login_Account_Not_Exist" if code else ""})
    service.notice()
    return {"ResultItem": items}


# Profiles.


def portrait_set(service, app: App, call) -> dict:
    """Set fields of one profile to absolute values."""
    name = user(service, call.body, "From_Account", 40001)
    items = call.body.get("ProfileItem")
    if type(items) is not list or not items or any(type(one) is not dict for one in items):
        raise Refusal(40001, "ProfileItem is not an array of objects")
    for one in items:
        if type(one.get("Tag")) is not str or not one["Tag"].startswith(_PROFILE_TAG):
            raise Refusal(40008, "Tag is invalid")
        if type(one.get("Value")) is int:
            continue
        text(one.get("Value"), "Value", MAX_PROFILE, 0, None, TOO_LONG)
    if not exists(service, app, name):
        raise Refusal(40003, "From_Account does not exist")
    happen(service, app, call, "profile", {"user_id": name, "items": {one["Tag"]: one["Value"] for one in items}})
    return {}


def portrait_get(service, app: App, call) -> dict:
    """Read profiles."""
    names = strings(batch(service, call, "To_Account", 40001), "To_Account", 40001)
    tags = strings(call.body.get("TagList"), "TagList", 40001)
    return {"UserProfileItem": [_profile(service, app, name, tags) for name in names]}


def _profile(service, app: App, name: str, tags: list) -> dict:
    book = service.ledger.of(app.sdkappid)
    if not exists(service, app, name):
        return {"To_Account": name, "ProfileItem": [], "ResultCode": 40003, "ResultInfo": "no such account"}
    account = book.accounts.get(name, {})
    values = {tag: account[field] for field, tag in _TAGS.items() if account.get(field)}
    values.update(book.profiles.get(name, {}))
    return {"To_Account": name, "ResultCode": 0, "ResultInfo": "",
            "ProfileItem": [{"Tag": tag, "Value": values[tag]} for tag in tags if tag in values]}
